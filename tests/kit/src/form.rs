//! The bodies of HTML forms.

use std::fmt::Write as _;

/// Bytes that no part of a form may contain.
const BOUNDARY: &str = "----fcgate-kit-7d91b3f0c2";

/// A form with files (`multipart/form-data`).
#[derive(Clone, Debug, Default)]
pub struct Form {
    parts: Vec<u8>,
}

impl Form {
    /// A form without fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// A field.
    pub fn field(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.part(&format!("Content-Disposition: form-data; name=\"{name}\""), value.as_ref())
    }

    /// A file.
    pub fn file(self, name: &str, file_name: &str, media_type: &str, content: impl AsRef<[u8]>) -> Self {
        let head = format!(
            "Content-Disposition: form-data; name=\"{name}\"; filename=\"{file_name}\"\r\n\
             Content-Type: {media_type}"
        );
        self.part(&head, content.as_ref())
    }

    fn part(mut self, head: &str, content: &[u8]) -> Self {
        assert!(!content.windows(BOUNDARY.len()).any(|bytes| bytes == BOUNDARY.as_bytes()));
        self.parts.extend_from_slice(format!("--{BOUNDARY}\r\n{head}\r\n\r\n").as_bytes());
        self.parts.extend_from_slice(content);
        self.parts.extend_from_slice(b"\r\n");
        self
    }

    /// The Content-Type field.
    pub fn content_type() -> String {
        format!("multipart/form-data; boundary={BOUNDARY}")
    }

    /// The body.
    pub fn encode(&self) -> Vec<u8> {
        [&self.parts[..], format!("--{BOUNDARY}--\r\n").as_bytes()].concat()
    }
}

/// The body of a form without files (`application/x-www-form-urlencoded`).
pub fn urlencoded(fields: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        escape(&mut text, name);
        text.push('=');
        escape(&mut text, value);
    }
    text
}

fn escape(text: &mut String, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => text.push(byte as char),
            b' ' => text.push('+'),
            _ => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_its_parts_between_boundaries() {
        let form = Form::new().field("a", "1").file("f", "x.bin", "image/png", b"\xFF\r\n");
        let expected = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n\
             --{BOUNDARY}\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.bin\"\r\n\
             Content-Type: image/png\r\n\r\n"
        );
        let expected =
            [expected.as_bytes(), b"\xFF\r\n\r\n", format!("--{BOUNDARY}--\r\n").as_bytes()].concat();
        assert_eq!(form.encode(), expected);
        assert!(Form::content_type().ends_with(BOUNDARY));
    }

    #[test]
    fn fields_are_escaped() {
        assert_eq!(urlencoded(&[("a b", "1&2=ü"), ("c", "")]), "a+b=1%262%3D%C3%BC&c=");
    }
}
