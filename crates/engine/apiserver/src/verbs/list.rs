//! GET of a collection: pages of a consistent revision, filtered by selectors.

use bytes::Bytes;
use data::Token;
use engenho_store::{KeyRange, KeyValue, RangeRequest, RangeResponse, StoreError};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::body::Body;
use crate::context::{Context, parse_stored};
use crate::kinds::is_custom;
use crate::negotiate::{Media, Shape};
use crate::options::{ListOptions, RevisionMatch};
use crate::selector::{FieldSelector, LabelSelector, Selector};
use crate::status::Status;
use crate::{custom, leases, object, respond, table};

/// Objects are looked at in batches of at most this many when a selector and a limit are given.
const BATCH: usize = 500;

/// The selectors of a request.
pub(crate) fn selector(context: &Context) -> Result<Selector, Status> {
    let (query, resource) = (&context.info.query, &context.resource);
    let labels = LabelSelector::parse(query.get("labelSelector")).map_err(Status::bad_request)?;
    let text = query.get("fieldSelector");
    let fields = match context.custom_version() {
        Some((_, version)) => FieldSelector::parse_custom(text, version),
        None => FieldSelector::parse(text, &resource.group, &resource.version, &resource.plural),
    }
    .map_err(|e| Status::bad_request(e.to_string()))?;
    Ok(Selector { labels, fields })
}

/// Prefix of the keys a collection request is about.
pub(crate) fn prefix(context: &Context) -> String {
    let (resource, namespace) = (&context.resource, &context.info.namespace);
    if resource.namespaced && !namespace.is_empty() {
        resource.storage_namespace_prefix(namespace)
    } else {
        resource.storage_prefix()
    }
}

/// One page.
pub(crate) struct Page {
    /// Objects, in key order.
    pub items: Vec<Item>,
    /// Revision the page is of.
    pub revision: u64,
    /// Token of the next page, empty for the last.
    pub next: String,
    /// Objects after this page, if they were counted.
    pub remaining: Option<u64>,
}

/// One object of a page: its bytes, and its parsed form if it was needed, as it always is where a webhook converts.
pub(crate) struct Item {
    pub bytes: Bytes,
    pub value: Option<Value>,
}

impl Item {
    /// The object in the form this request's resource serves.
    pub fn value(self, context: &Context) -> Result<Value, Status> {
        match self.value {
            Some(value) => Ok(value),
            None => Ok(custom::from_storage(context, parse_stored(&self.bytes)?)),
        }
    }
}

pub(crate) async fn handle(context: &Context) -> Result<Response<Body>, Status> {
    let options = ListOptions::read(&context.info.query, false)?;
    let selector = selector(context)?;
    let page = read(context, &options, &selector).await?;
    let output = &context.output;
    if output.media == Media::Json && output.shape == Shape::Object && !output.pretty {
        return concatenate(context, page);
    }
    let (own, meta) = (own_meta(context, &page), list_meta(&page));
    let values = page
        .items
        .into_iter()
        .map(|item| item.value(context))
        .collect::<Result<Vec<_>, _>>()?;
    let list = match output.shape {
        Shape::Object => {
            let mut list = header(context);
            list.insert("metadata".into(), own);
            list.insert(
                "items".into(),
                values.into_iter().map(|v| without_type(context, v)).collect(),
            );
            Value::Object(list)
        }
        _ => table::shape_list(context, &values, meta)?,
    };
    Ok(respond::value(StatusCode::OK, &list, output))
}

/// Reads one page.
pub(crate) async fn read(context: &Context, options: &ListOptions, selector: &Selector) -> Result<Page, Status> {
    let token = if options.continue_token.is_empty() {
        None
    } else {
        Some(Token::decode(&options.continue_token)?)
    };
    if token.is_some() && options.revision.is_some_and(|r| r != 0) {
        return Err(Status::bad_request(
            "specifying resource version is not allowed when using continue",
        ));
    }
    let from_cache = token.is_none() && options.revision == Some(0);
    let limit = if from_cache { 0 } else { options.limit };
    let exact = options.revision_match == RevisionMatch::Exact
        || (options.revision_match == RevisionMatch::Unset && limit > 0 && options.revision.is_some_and(|r| r > 0));
    let fresh = if token.is_some() { Some(0) } else { options.revision };
    #[cfg(feature = "mutations")]
    let fresh = fresh.or(sim_mutation::is("stale-list").then_some(0));
    context.prepare_read(fresh).await?;
    let prefix = prefix(context);
    let mut at = match &token {
        Some(token) => token.revision,
        None if exact => options.revision,
        None => None,
    };
    if token.is_some()
        && let Some(revision) = at
    {
        context.prepare_read(Some(revision)).await?;
    }
    let start = token.as_ref().map_or_else(String::new, |t| t.start.clone());
    let mut range = KeyRange::prefix(prefix.clone());
    if !start.is_empty() {
        range.start = format!("{prefix}{start}").into_bytes().into();
    }
    let everything = selector.is_everything();
    let mut page = Page {
        items: Vec::new(),
        revision: 0,
        next: String::new(),
        remaining: None,
    };
    let (mut fetched, mut tested) = (0, 0);
    loop {
        let left = if limit == 0 { 0 } else { limit - page.items.len() };
        let batch = if limit == 0 || everything {
            left
        } else {
            left.max(BATCH)
        };
        let request = RangeRequest {
            range: range.clone(),
            limit: batch,
            revision: at,
            keys_only: false,
            count_only: false,
        };
        let read: RangeResponse = context
            .storage()
            .range(&request)
            .map_err(|e| expired(&e, &token, &start))?;
        fetched += read.kvs.len() as u64;
        tested += if everything { 0 } else { read.kvs.len() as u64 };
        page.revision = at.unwrap_or(read.revision);
        at = Some(page.revision);
        let mut cut = None;
        let mut values = converted(context, &read.kvs).await?.into_iter();
        for (i, kv) in read.kvs.iter().enumerate() {
            if let Some(item) = select(context, kv, values.next(), selector)? {
                page.items.push(item);
            }
            if limit > 0 && page.items.len() == limit && (i + 1 < read.kvs.len() || read.more) {
                cut = Some((i, kv));
                break;
            }
        }
        if let Some((_, last)) = cut {
            if everything {
                page.remaining = Some(read.count.saturating_sub(read.kvs.len() as u64));
            }
            page.next = Token::after(&last.key, &prefix, page.revision).encode();
            break;
        }
        match read.kvs.last() {
            Some(last) if read.more => range.start = after(&last.key),
            _ => break,
        }
    }
    let (resource, returned) = (&context.resource, page.items.len() as u64);
    let metrics = &context.server.metrics;
    metrics.list(&resource.group, &resource.plural, fetched, tested, returned);
    if token.is_none() {
        leases::merge_into(context, selector, &mut page.items)?;
    }
    Ok(page)
}

fn after(key: &[u8]) -> Bytes {
    let mut next = key.to_vec();
    next.push(0);
    next.into()
}

/// The objects as a webhook converts them; none where there is no webhook.
async fn converted(context: &Context, kvs: &[KeyValue]) -> Result<Vec<Value>, Status> {
    if !custom::is_read_by_webhook(context) {
        return Ok(Vec::new());
    }
    let storage = context.storage();
    let stored = kvs.iter().map(|kv| parse_stored(&storage.open(kv)?.bytes));
    custom::read_all(context, stored.collect::<Result<_, _>>()?).await
}

/// The object, if it is selected.
fn select(
    context: &Context,
    kv: &KeyValue,
    converted: Option<Value>,
    selector: &Selector,
) -> Result<Option<Item>, Status> {
    let stored = context.storage().open(kv)?;
    if selector.is_everything() {
        return Ok(Some(Item {
            bytes: stored.bytes,
            value: converted,
        }));
    }
    let value = match converted {
        Some(value) => value,
        None => custom::from_storage(context, parse_stored(&stored.bytes)?),
    };
    Ok(selector.matches(&value).then_some(Item {
        bytes: stored.bytes,
        value: Some(value),
    }))
}

fn expired(error: &StoreError, token: &Option<Token>, start: &str) -> Status {
    match error {
        StoreError::Compacted { .. } if token.is_some() => {
            // The client may go on where it was, at the newest revision, and accept an inconsistent whole.
            let fresh = Token {
                start: start.to_owned(),
                revision: None,
            }
            .encode();
            Status::expired_continue(&fresh)
        }
        StoreError::Compacted { .. } => Status::expired("The resourceVersion for the provided list is too old."),
        StoreError::FutureRevision { revision, current } => Status::too_large_revision(*revision, *current),
        other => Status::internal(other),
    }
}

pub(super) fn header(context: &Context) -> Map<String, Value> {
    let mut list = Map::new();
    list.insert("kind".into(), context.list_kind().into());
    list.insert("apiVersion".into(), context.resource.api_version().into());
    list
}

/// Metadata of the list itself: that of custom resources tells of having no more pages.
pub(super) fn own_meta(context: &Context, page: &Page) -> Value {
    let mut meta = list_meta(page);
    if is_custom(&context.resource) && page.next.is_empty() {
        meta["continue"] = "".into();
    }
    meta
}

fn list_meta(page: &Page) -> Value {
    let mut meta = json!({"resourceVersion": page.revision.to_string()});
    if !page.next.is_empty() {
        meta["continue"] = page.next.as_str().into();
        if let Some(remaining) = page.remaining.filter(|r| *r > 0) {
            meta["remainingItemCount"] = remaining.into();
        }
    }
    meta
}

pub(super) fn without_type(context: &Context, mut value: Value) -> Value {
    if !is_custom(&context.resource)
        && let Some(map) = value.as_object_mut()
    {
        map.remove("kind");
        map.remove("apiVersion");
    }
    value
}

/// The list as one run of stored bytes.
fn concatenate(context: &Context, page: Page) -> Result<Response<Body>, Status> {
    let resource = &context.resource;
    let prefix = format!(
        r#"{{"kind":"{}","apiVersion":"{}","#,
        resource.kind,
        resource.api_version()
    );
    let strip = !is_custom(resource);
    let converted = custom::is_converted(context);
    let size: usize = page.items.iter().map(|i| i.bytes.len() + 1).sum();
    let mut out = Vec::with_capacity(size + 256);
    let head = format!(
        r#"{{"kind":"{}","apiVersion":"{}","metadata":{},"items":["#,
        context.list_kind(),
        resource.api_version(),
        own_meta(context, &page)
    );
    out.extend_from_slice(head.as_bytes());
    for (i, item) in page.items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        if converted || (strip && !item.bytes.starts_with(prefix.as_bytes())) {
            let value = without_type(context, item.value(context)?);
            out.extend_from_slice(value.to_string().as_bytes());
        } else if strip {
            out.push(b'{');
            out.extend_from_slice(&item.bytes[object::type_prefix_len(&resource.kind, &resource.api_version())..]);
        } else {
            out.extend_from_slice(&item.bytes);
        }
    }
    out.extend_from_slice(b"]}\n");
    Ok(respond::bytes(StatusCode::OK, context.output.media.content_type(), out))
}

mod data {
    //! Continue tokens, in upstream's form.

    use engenho_patch::decode;
    use serde_json::{Value, json};

    use crate::base64;
    use crate::status::Status;

    /// Where the next page begins.
    pub(super) struct Token {
        /// Key after the prefix.
        pub start: String,
        /// Revision of the whole list; `None` for the newest.
        pub revision: Option<u64>,
    }

    impl Token {
        /// The token of the page that begins after `key`.
        pub fn after(key: &[u8], prefix: &str, revision: u64) -> Self {
            let rest = key.get(prefix.len()..).unwrap_or_default();
            Self {
                start: format!("{}\0", String::from_utf8_lossy(rest)),
                revision: Some(revision),
            }
        }

        pub fn encode(&self) -> String {
            let rv = self.revision.map_or(json!(-1), |r| json!(r));
            base64::encode_url(
                json!({"v": "meta.k8s.io/v1", "rv": rv, "start": self.start})
                    .to_string()
                    .as_bytes(),
            )
        }

        pub fn decode(text: &str) -> Result<Self, Status> {
            let refuse = |what: String| Status::bad_request(format!("invalid continue token: {what}"));
            let bytes = base64::decode_url(text).map_err(|at| {
                refuse(format!(
                    "continue key is not valid: illegal base64 data at input byte {at}"
                ))
            })?;
            let value = decode::json(&bytes)
                .map_err(|e| refuse(format!("continue key is not valid: {e}")))?
                .value;
            if value["v"] != "meta.k8s.io/v1" {
                return Err(refuse(format!(
                    "continue key is not valid: server does not recognize this encoded version {}",
                    value["v"]
                )));
            }
            let start = value["start"].as_str().unwrap_or_default().to_owned();
            if start.is_empty() || start.contains("..") {
                return Err(refuse(
                    "continue key is not valid: encoded start key empty (version meta.k8s.io/v1)".into(),
                ));
            }
            let revision = match &value["rv"] {
                Value::Number(n) => n.as_u64().filter(|r| *r > 0),
                _ => {
                    return Err(refuse(
                        "continue key is not valid: incorrect encoded start resourceVersion".into(),
                    ));
                }
            };
            Ok(Self { start, revision })
        }
    }
}
