//! The least of XML that an answer needs, read with suspicion: no document type, no entity beyond the five of XML, no deep or long
//! documents, and nothing said twice where it matters.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

/// The longest answer, in octets; the ones that are known have less than 2,000.
pub const LARGEST: usize = 64 << 10;

/// How deep elements may lie in each other.
const DEEPEST: usize = 16;

/// Why an answer is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// More than [`LARGEST`].
    #[error("it is longer than 64 KiB")]
    TooLong,
    /// Not UTF-8, or it says that it is something else.
    #[error("it is not UTF-8")]
    Encoding,
    /// Not well-formed.
    #[error("it is not well-formed XML")]
    Malformed,
    /// A document type, a processing instruction.
    #[error("it holds a document type or a processing instruction")]
    Declaration,
    /// A reference to something beyond the five entities.
    #[error("it refers to an unknown entity")]
    Entity,
    /// A character that XML does not have.
    #[error("it holds a character that XML does not have")]
    Character,
    /// Too deep.
    #[error("its elements lie too deep in each other")]
    TooDeep,
    /// Another root element than the one of the question.
    #[error("its root element is not the expected one")]
    Root,
    /// An element that matters stands there twice.
    #[error("an element that matters stands there twice")]
    Duplicate,
    /// Elements where there should be text.
    #[error("there are elements where there should be text")]
    Mixed,
}

/// The text of those elements below the root that were asked for.
pub(super) struct Elements {
    /// Path below the root, and the text; `None`: `nil`, empty or absent.
    found: Vec<(&'static str, Option<String>)>,
}

impl Elements {
    /// The text at `path`.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.found.iter().find(|(known, _)| *known == path).and_then(|(_, text)| text.as_deref())
    }

    /// The text at `path`, taken out.
    pub(super) fn take(&mut self, path: &str) -> Option<String> {
        self.found.iter_mut().find(|(known, _)| *known == path).and_then(|(_, text)| text.take())
    }
}

/// Whether the text of an element says `word`, white space and capitals aside.
pub(super) fn element_text_is(text: Option<&str>, word: &str) -> bool {
    text.is_some_and(|text| text.trim().eq_ignore_ascii_case(word))
}

/// Reads a document whose root is `root`. `wanted` are the paths that matter (`Result`, `Result/Value`): each may stand there
/// once; the ones that hold others come without text. Everything else is passed over.
pub(super) fn read(octets: &[u8], root: &str, wanted: &[&'static str]) -> Result<Elements, Unreadable> {
    if octets.len() > LARGEST {
        return Err(Unreadable::TooLong);
    }
    let text = std::str::from_utf8(octets).map_err(|_| Unreadable::Encoding)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !text.chars().all(allowed) {
        return Err(Unreadable::Character);
    }
    let mut reader = Reader::from_str(text);
    let mut walk = Walk { root, wanted, path: Vec::new(), over: false, current: None, found: Vec::new() };
    let mut begun = false;
    loop {
        let event = reader.read_event().map_err(|_| Unreadable::Malformed)?;
        match event {
            Event::Decl(declaration) if !begun => {
                let encoding = declaration.encoding().transpose().map_err(|_| Unreadable::Malformed)?;
                if encoding.is_some_and(|name| !name.eq_ignore_ascii_case("utf-8")) {
                    return Err(Unreadable::Encoding);
                }
            }
            Event::Decl(_) | Event::DocType(_) | Event::PI(_) => return Err(Unreadable::Declaration),
            Event::Start(start) => walk.open(&start)?,
            Event::Empty(start) => {
                walk.open(&start)?;
                walk.close();
            }
            Event::End(_) => walk.close(),
            Event::Text(text) => walk.text(&text.xml10_content())?,
            Event::CData(text) => walk.text(&text.xml10_content())?,
            Event::GeneralRef(reference) => walk.reference(&reference)?,
            Event::Comment(_) => {}
            Event::Eof => break,
        }
        begun = true;
    }
    if !walk.over {
        return Err(Unreadable::Malformed);
    }
    Ok(Elements { found: walk.found })
}

/// The characters of XML 1.0 §2.2.
fn allowed(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        other => other >= ' ',
    }
}

struct Walk<'a> {
    root: &'a str,
    wanted: &'a [&'static str],
    /// The names of the open elements, the root's first.
    path: Vec<String>,
    /// The root was closed.
    over: bool,
    /// The element whose text is being read, by its place in `found`, and its depth.
    current: Option<Current>,
    found: Vec<(&'static str, Option<String>)>,
}

struct Current {
    path: &'static str,
    nil: bool,
    text: String,
}

impl Walk<'_> {
    fn open(&mut self, start: &BytesStart<'_>) -> Result<(), Unreadable> {
        let nil = is_nil(start)?;
        if self.over || self.current.is_some() {
            return Err(if self.over { Unreadable::Malformed } else { Unreadable::Mixed });
        }
        if self.path.len() >= DEEPEST {
            return Err(Unreadable::TooDeep);
        }
        let name = start.name().into_inner();
        if self.path.is_empty() && name != self.root {
            return Err(Unreadable::Root);
        }
        self.path.push(name.to_owned());
        let Some(path) = self.wanted() else { return Ok(()) };
        if self.found.iter().any(|(known, _)| *known == path) {
            return Err(Unreadable::Duplicate);
        }
        self.found.push((path, None));
        let holds_others =
            self.wanted.iter().any(|other| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')));
        if !holds_others {
            self.current = Some(Current { path, nil, text: String::new() });
        }
        Ok(())
    }

    /// The wanted path where the walk stands.
    fn wanted(&self) -> Option<&'static str> {
        let below = self.path.get(1..).filter(|below| !below.is_empty())?;
        self.wanted.iter().copied().find(|wanted| wanted.split('/').eq(below.iter().map(String::as_str)))
    }

    fn close(&mut self) {
        self.path.pop();
        self.over = self.path.is_empty();
        let Some(current) = self.current.take() else { return };
        let entry = self.found.iter_mut().find(|(known, _)| *known == current.path);
        if let Some((_, text)) = entry.filter(|_| !current.nil && !current.text.trim().is_empty()) {
            *text = Some(current.text);
        }
    }

    fn text(&mut self, text: &str) -> Result<(), Unreadable> {
        match &mut self.current {
            Some(current) => current.text.push_str(text),
            // Around the root there is white space only.
            None if self.path.is_empty() && !text.trim().is_empty() => return Err(Unreadable::Malformed),
            None => {}
        }
        Ok(())
    }

    fn reference(&mut self, reference: &BytesRef<'_>) -> Result<(), Unreadable> {
        let character = match &**reference {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let character = reference.resolve_char_ref().map_err(|_| Unreadable::Character)?;
                character.ok_or(Unreadable::Entity)?
            }
        };
        if !allowed(character) {
            return Err(Unreadable::Character);
        }
        if self.path.is_empty() {
            return Err(Unreadable::Malformed);
        }
        self.text(character.encode_utf8(&mut [0; 4]))
    }
}

/// Whether the element carries `nil="true"` of XML Schema instances, whatever its prefix.
fn is_nil(start: &BytesStart<'_>) -> Result<bool, Unreadable> {
    let mut nil = false;
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|_| Unreadable::Malformed)?;
        let name = attribute.key.local_name();
        nil |= name.into_inner() == "nil" && matches!(attribute.value.trim(), "true" | "1");
    }
    Ok(nil)
}
