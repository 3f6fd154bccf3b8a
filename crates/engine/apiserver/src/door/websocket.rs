//! Bearer tokens of WebSockets, which name them as a protocol they want to speak.

use http::{HeaderMap, HeaderValue, header};

use crate::base64;

const PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

fn is_websocket(headers: &HeaderMap) -> bool {
    let has = |name: header::HeaderName, wanted: &str| {
        let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(wanted)))
    };
    has(header::CONNECTION, "upgrade") && has(header::UPGRADE, "websocket")
}

/// Takes the token out of the protocols that a WebSocket offers. The error says what is wrong with it.
pub(super) fn take_token(headers: &mut HeaderMap) -> Result<Option<String>, &'static str> {
    if !is_websocket(headers) {
        return Ok(None);
    }
    let (mut token, mut others) = (None, Vec::new());
    for value in headers.get_all(header::SEC_WEBSOCKET_PROTOCOL) {
        let value = value.to_str().map_err(|_| "the protocols are no text")?;
        for protocol in value.split(',').map(str::trim) {
            let Some(encoded) = protocol.strip_prefix(PREFIX) else {
                others.push(protocol.to_owned());
                continue;
            };
            if token.is_some() {
                return Err("multiple base64.bearer.authorization tokens specified");
            }
            let decoded = base64::decode_url(encoded);
            let decoded = decoded.map_err(|_| "invalid base64.bearer.authorization token encoding")?;
            token = Some(String::from_utf8(decoded).map_err(|_| "invalid base64.bearer.authorization token")?);
        }
    }
    let Some(token) = token.filter(|token| !token.is_empty()) else {
        return Ok(None);
    };
    if others.is_empty() {
        return Err("missing additional subprotocol");
    }
    let others = HeaderValue::from_str(&others.join(",")).map_err(|_| "the protocols are no text")?;
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, others);
    Ok(Some(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(protocols: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        for protocol in protocols {
            let value = HeaderValue::from_str(protocol).expect("a header");
            headers.append(header::SEC_WEBSOCKET_PROTOCOL, value);
        }
        headers
    }

    #[test]
    fn a_protocol_names_the_token() {
        let token = format!("{PREFIX}{}", base64::encode_url(b"secret"));
        let mut sent = headers(&[&format!("v5.channel.k8s.io, {token}"), "v4.channel.k8s.io"]);
        assert_eq!(take_token(&mut sent), Ok(Some("secret".to_owned())));
        assert_eq!(
            sent[header::SEC_WEBSOCKET_PROTOCOL],
            "v5.channel.k8s.io,v4.channel.k8s.io"
        );
        assert_eq!(take_token(&mut sent), Ok(None));
        for wrong in [
            vec![token.as_str()],
            vec![&token, &token, "x"],
            vec!["base64url.bearer.authorization.k8s.io.?", "x"],
        ] {
            assert!(take_token(&mut headers(&wrong)).is_err(), "{wrong:?}");
        }
        let mut plain = headers(&[&token, "x"]);
        plain.remove(header::UPGRADE);
        assert_eq!(take_token(&mut plain), Ok(None));
    }
}
