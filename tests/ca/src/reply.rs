//! An answer before it becomes HTTP.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};
use http_body_util::Full;
use serde_json::Value;

#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(&'static str, String)>,
    content_type: Option<String>,
    body: Vec<u8>,
}

impl Reply {
    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), content_type: None, body: Vec::new() }
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self { body: body.to_string().into_bytes(), ..Self::empty(status) }.content_type("application/json")
    }

    pub(crate) fn with_body(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::empty(status) }.content_type(content_type)
    }

    pub(crate) fn content_type(mut self, value: &str) -> Self {
        self.content_type = Some(value.to_owned());
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Replaces a header with these values; none leaves it out.
    pub(crate) fn with_header(mut self, name: &'static str, values: Vec<String>) -> Self {
        if name == "content-type" {
            self.content_type = None;
        }
        self.headers.retain(|(known, _)| *known != name);
        self.headers.extend(values.into_iter().map(|value| (name, value)));
        self
    }

    pub(crate) fn with_other_body(self, body: Vec<u8>) -> Self {
        Self { body, ..self }
    }

    /// Changes the body, if it is JSON.
    pub(crate) fn edited(self, edit: impl FnOnce(&mut Value)) -> Self {
        let Ok(mut value) = serde_json::from_slice::<Value>(&self.body) else { return self };
        edit(&mut value);
        self.with_other_body(value.to_string().into_bytes())
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Status line and headers as they go over the wire, whatever is in them.
    pub(crate) fn head(&self, length: Option<u64>) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", self.status);
        let content_type = self.content_type.iter().map(|value| ("content-type", value));
        for (name, value) in content_type.chain(self.headers.iter().map(|(name, value)| (*name, value))) {
            head.extend([name, ": ", value, "\r\n"]);
        }
        if let Some(length) = length {
            head.extend(["content-length: ", &length.to_string(), "\r\n"]);
        }
        head += "\r\n";
        head.into_bytes()
    }

    /// Whether an HTTP library would send it as it is.
    pub(crate) fn is_proper(&self) -> bool {
        let values = self.content_type.iter().chain(self.headers.iter().map(|(_, value)| value));
        (200..600).contains(&self.status)
            && values.into_iter().all(|value| HeaderValue::from_str(value).is_ok())
    }

    pub(crate) fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// `Link: <target>;rel="relation"` (RFC 8288).
    pub(crate) fn link(self, target: &str, relation: &str) -> Self {
        self.header("link", format!("<{target}>;rel=\"{relation}\""))
    }

    pub(crate) fn into_http(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() =
            http::StatusCode::from_u16(self.status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
        let content_type = self.content_type.map(|value| ("content-type", value));
        for (name, value) in content_type.into_iter().chain(self.headers) {
            // What HTTP cannot carry goes another way; see `is_proper`.
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().append(HeaderName::from_static(name), value);
            }
        }
        response
    }
}
