//! Events of the parser to a tree of nodes, within bounds.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use libyaml_safer::{Error as ParserError, ErrorKind, Event, EventData, Parser, ScalarStyle};

use crate::Error;

/// Nodes of one document: more than the largest object that the store takes can have.
const NODES_MAX: usize = 1 << 20;

/// Nested lists and maps, as in bodies of JSON.
pub(crate) const DEPTH_MAX: usize = 100;

/// Directives before a document. The parser compares each with all others.
const DIRECTIVES_MAX: usize = 100;

/// The place of a node in its document.
pub(crate) type NodeId = u32;

/// One node.
#[derive(Debug)]
pub(crate) struct Node {
    /// The line where it starts, from 0.
    pub line: u64,
    pub content: Content,
}

/// What a node is.
#[derive(Debug)]
pub(crate) enum Content {
    Scalar {
        tag: Option<Box<str>>,
        text: Box<str>,
        /// Plain, so that its text says its type.
        plain: bool,
    },
    List(Vec<NodeId>),
    /// Keys and values in turn.
    Map(Vec<NodeId>),
    Alias {
        name: Box<str>,
        target: NodeId,
    },
}

/// The first document of a text.
#[derive(Debug, Default)]
pub(crate) struct Document {
    nodes: Vec<Node>,
    root: Option<NodeId>,
}

impl Document {
    /// The outermost node, unless the text is empty.
    pub fn root(&self) -> Option<NodeId> {
        self.root
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }
}

/// Reads the first document.
pub(crate) fn parse(bytes: &[u8]) -> Result<Document, Error> {
    let text = std::str::from_utf8(bytes).map_err(|error| no_utf8(bytes, &error))?;
    if begins_with_directives(text) && text.matches("%TAG").nth(DIRECTIVES_MAX).is_some() {
        let problem = format!("document has more than {DIRECTIVES_MAX} directives");
        return Err(Error::Meaning(problem));
    }
    // The line where the scanner is at the end of the text.
    let last = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    // Some malformed texts (a backslash or an indented block as the last byte) make the parser panic; they don't when a
    // line break follows. For the rest there is the net below: a bug of the parser is the client's error, not ours.
    let ended = bytes.last().is_none_or(|last| *last == b'\n');
    let mut text = bytes.to_vec();
    if !ended {
        text.push(b'\n');
    }
    let mut reader = Reader {
        document: Document::default(),
        open: Vec::new(),
        anchors: HashMap::new(),
        last,
        unended: !ended && last_line_has_content(bytes),
    };
    catch_unwind(AssertUnwindSafe(|| reader.read(&text))).unwrap_or_else(|_| {
        Err(Error::Syntax {
            line: None,
            problem: "unknown problem parsing YAML content".to_owned(),
        })
    })?;
    Ok(reader.document)
}

/// Whether the first that isn't a comment is a directive.
fn begins_with_directives(text: &str) -> bool {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        if let Some(comment) = rest.strip_prefix('#') {
            let end = comment.find(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']);
            rest = &comment[end.unwrap_or(comment.len())..];
        } else if let Some(after) = rest.strip_prefix("...") {
            rest = after;
        } else {
            return rest.starts_with('%');
        }
    }
}

fn last_line_has_content(bytes: &[u8]) -> bool {
    let last = bytes.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    !last.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}

/// A list or a map whose end wasn't read yet.
struct Open {
    id: NodeId,
    is_map: bool,
    children: Vec<NodeId>,
}

struct Reader {
    document: Document,
    open: Vec<Open>,
    anchors: HashMap<String, NodeId>,
    /// The last line, from 0.
    last: u64,
    /// The last line has content and no line break.
    unended: bool,
}

impl Reader {
    fn read(&mut self, text: &[u8]) -> Result<(), Error> {
        let mut parser = Parser::new();
        let mut input = text;
        parser.set_input_string(&mut input);
        loop {
            let event = parser.parse().map_err(|error| syntax(&error, self.last))?;
            match event.data {
                EventData::StreamStart { .. } | EventData::DocumentStart { .. } => {}
                EventData::StreamEnd | EventData::DocumentEnd { .. } => return Ok(()),
                _ => self.take(event)?,
            }
        }
    }

    fn take(&mut self, event: Event) -> Result<(), Error> {
        let line = event.start_mark.line;
        match event.data {
            EventData::Alias { anchor } => {
                let Some(target) = self.anchors.get(&anchor).copied() else {
                    return Err(Error::Meaning(format!("unknown anchor '{anchor}' referenced")));
                };
                let name = anchor.into_boxed_str();
                self.add(line, Content::Alias { name, target }, None)?;
            }
            EventData::Scalar {
                anchor,
                tag,
                mut value,
                plain_implicit,
                style,
                ..
            } => {
                let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                if block && self.unended && event.end_mark.line > self.last && value.ends_with('\n') {
                    value.pop();
                }
                let content = Content::Scalar {
                    tag: tag.map(String::into_boxed_str),
                    text: value.into_boxed_str(),
                    plain: plain_implicit,
                };
                self.add(line, content, anchor)?;
            }
            EventData::SequenceStart { anchor, .. } => self.begin(line, Content::List(Vec::new()), anchor)?,
            EventData::MappingStart { anchor, .. } => self.begin(line, Content::Map(Vec::new()), anchor)?,
            EventData::SequenceEnd | EventData::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    self.document.nodes[open.id as usize].content = if open.is_map {
                        Content::Map(open.children)
                    } else {
                        Content::List(open.children)
                    };
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, line: u64, content: Content, anchor: Option<String>) -> Result<(), Error> {
        if self.open.len() >= DEPTH_MAX {
            return Err(Error::Meaning(format!("exceeded max depth of {DEPTH_MAX}")));
        }
        let is_map = matches!(content, Content::Map(_));
        let id = self.add(line, content, anchor)?;
        self.open.push(Open {
            id,
            is_map,
            children: Vec::new(),
        });
        Ok(())
    }

    fn add(&mut self, line: u64, content: Content, anchor: Option<String>) -> Result<NodeId, Error> {
        let nodes = &mut self.document.nodes;
        if nodes.len() >= NODES_MAX {
            return Err(Error::Meaning(format!("document contains more than {NODES_MAX} nodes")));
        }
        let id = nodes.len() as NodeId;
        nodes.push(Node { line, content });
        match self.open.last_mut() {
            Some(open) => open.children.push(id),
            None => self.document.root = Some(id),
        }
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, id);
        }
        Ok(id)
    }
}

/// The parser's error with the line that go-yaml tells: the scanner's lines count from 1 and the parser's from 0, and
/// the first line isn't told. The scanner doesn't get beyond the `last` line of what the client sent.
fn syntax(error: &ParserError, last: u64) -> Error {
    let scanner = error.kind() == ErrorKind::Scanner;
    let problem_line = error
        .problem_mark()
        .map(|mark| if scanner { mark.line.min(last) } else { mark.line });
    let line = match problem_line.filter(|line| *line != 0) {
        Some(line) => Some(line + u64::from(scanner)),
        None => error.context_mark().map(|mark| mark.line).filter(|line| *line != 0),
    };
    Error::Syntax {
        line,
        problem: error.problem().to_owned(),
    }
}

fn no_utf8(bytes: &[u8], error: &std::str::Utf8Error) -> Error {
    let leading = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
    let problem = match error.error_len() {
        None => "incomplete UTF-8 octet sequence",
        Some(_) if matches!(leading, 0x80..=0xBF | 0xF8..) => "invalid leading UTF-8 octet",
        Some(_) => "invalid trailing UTF-8 octet",
    };
    Error::Syntax {
        line: None,
        problem: problem.to_owned(),
    }
}
