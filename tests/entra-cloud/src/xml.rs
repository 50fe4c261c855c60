//! Requests are read as a DataContract reader would, answers are written as text.

use quick_xml::escape::{escape, unescape};
use quick_xml::events::Event;
use quick_xml::reader::Reader;

/// The elements of a request, below its root, and the entries of its dictionary.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) fields: Vec<(String, Option<String>)>,
    pub(crate) properties: Vec<(String, String)>,
}

impl Request {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name)?.1.as_deref()
    }

    pub(crate) fn property(&self, key: &str) -> Option<&str> {
        self.properties.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// The orders in which elements may come: of RADIUS callers and of AD FS.
const ORDERS: [(&str, &[&str]); 4] = [
    (
        "BeginTwoWayAuthenticationRequest",
        &[
            "Version",
            "UserPrincipalName",
            "Lcid",
            "AuthenticationMethodId",
            "AuthenticationMethodProperties",
            "ContextId",
            "SyncCall",
            "RequireUserMatch",
            "CallerName",
            "CallerIP",
        ],
    ),
    (
        "BeginTwoWayAuthenticationRequest",
        &[
            "Version",
            "UserPrincipalName",
            "TenantId",
            "Lcid",
            "AuthenticationMethodId",
            "AuthenticationMethodProperties",
            "AuthenticationPurpose",
            "ContextId",
            "OtpRetryCount",
            "SyncCall",
            "ReplicationScope",
            "ObjectId",
            "CompanyName",
        ],
    ),
    (
        "EndTwoWayAuthenticationRequest",
        &["Version", "SessionId", "ContextId", "AdditionalAuthData", "UserPrincipalName"],
    ),
    ("GetAvailableAuthenticationMethodsRequest", &["Version", "UserPrincipalName", "ContextId"]),
];

/// Reads a request; `None` if it is none. With `strict`, what stands out of order is dropped in silence.
pub(crate) fn read(text: &str, root: &str, strict: bool) -> Option<Request> {
    let mut reader = Reader::from_str(text);
    let (mut path, mut request, mut value) = (Vec::<String>::new(), Request::default(), String::new());
    let (mut key, mut nil) = (String::new(), false);
    loop {
        match reader.read_event().ok()? {
            Event::DocType(_) | Event::PI(_) => return None,
            Event::Start(start) => {
                path.push(start.name().as_ref().to_owned());
                nil = start.attributes().flatten().any(|attribute| attribute.key.as_ref() == "i:nil");
                value.clear();
            }
            Event::Empty(start) if path.len() == 1 => {
                request.fields.push((start.name().as_ref().to_owned(), None));
            }
            Event::Empty(_) => {}
            Event::Text(text) => value.push_str(&text),
            Event::GeneralRef(name) => {
                value.push_str(&unescape(&format!("&{};", &*name)).ok()?);
            }
            Event::CData(text) => value.push_str(&text),
            Event::End(_) => {
                let name = path.pop()?;
                match (path.len(), name.as_str()) {
                    (0, name) => return (name == root).then(|| ordered(request, root, strict)),
                    (1, _) => request.fields.push((name, (!nil).then(|| value.clone()))),
                    (_, "a:Key") => key = value.clone(),
                    (_, "a:Value") => request.properties.push((key.clone(), value.clone())),
                    _ => {}
                }
                value.clear();
            }
            Event::Eof => return None,
            Event::Comment(_) | Event::Decl(_) => {}
        }
    }
}

fn ordered(mut request: Request, root: &str, strict: bool) -> Request {
    if strict {
        let kept = ORDERS.iter().filter(|(name, _)| *name == root).map(|(_, order)| {
            let mut at = 0;
            let mut kept = Vec::new();
            for (name, value) in &request.fields {
                if let Some(place) = order.iter().skip(at).position(|known| known == name) {
                    at += place + 1;
                    kept.push((name.clone(), value.clone()));
                }
            }
            kept
        });
        request.fields = kept.max_by_key(Vec::len).unwrap_or_default();
    }
    request
}

/// An answer, before it is text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) root: &'static str,
    pub(crate) value: String,
    pub(crate) message: Option<String>,
    pub(crate) session: Option<String>,
    /// `AuthenticationResult`; `None`: nil.
    pub(crate) result: Option<String>,
    pub(crate) upn: Option<String>,
    pub(crate) affinity: Option<String>,
    /// The methods of a person; the first is the default.
    pub(crate) methods: Option<Vec<String>>,
    /// The assumptions that it leans on.
    pub(crate) assumed: Vec<&'static str>,
}

impl Answer {
    pub(crate) fn xml(&self) -> String {
        let element = |name: &str, value: &Option<String>| match value {
            Some(text) => format!("<{name}>{}</{name}>", escape(text.as_str())),
            None => format!("<{name} i:nil=\"true\"/>"),
        };
        let Self { root, value, message, session, result, upn, affinity, methods, .. } = self;
        let mut text = format!(
            "<{root} xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\"><Version>1</Version><Result><Value>{}</Value>{}\
             <Retry>false</Retry><Error i:nil=\"true\"/><Exception i:nil=\"true\"/></Result>",
            escape(value.as_str()),
            element("Message", message),
        );
        if let Some(methods) = methods {
            text += "<AuthenticationMethods>";
            for (place, id) in methods.iter().enumerate() {
                let default = place == 0;
                text += &format!(
                    "<AuthenticationMethod><Id>{id}</Id><IsDefault>{default}</IsDefault></AuthenticationMethod>"
                );
            }
            text += "</AuthenticationMethods>";
            return text + &element("UserPrincipalName", upn) + &format!("</{root}>");
        }
        if root.starts_with("Begin") {
            text += &element("SessionId", session);
        }
        text += &element("AuthenticationResult", result);
        if root.starts_with("Begin") {
            text += &element("UserPrincipalName", upn);
            if affinity.is_some() {
                text += &element("AffinityUrl", affinity);
            }
        }
        text + &format!("</{root}>")
    }
}
