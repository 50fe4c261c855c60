//! What ties a question to the trace of its sign-in.

use crate::telemetry::trace::trace_header;
use gateway_core::attempt::record::AttemptId;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

/// The headers of W3C Trace Context for the attempt; none where it is not traced.
pub(super) fn trace_headers(id: AttemptId) -> HeaderMap {
    let headers = trace_header(id).into_iter();
    headers
        .filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::try_from(value).ok()?)))
        .collect()
}
