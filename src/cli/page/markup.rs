//! Text that becomes HTML: what comes from outside goes through [`Html::text`] and cannot be
//! markup (threat T09).

use std::fmt::Write as _;

#[derive(Default)]
pub struct Html(String);

impl Html {
    /// Markup of our own; never a text from elsewhere.
    pub fn raw(&mut self, markup: &str) {
        self.0.push_str(markup);
    }

    /// Text between tags or in an attribute with double quotes.
    pub fn text(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                _ => self.0.push(c),
            }
        }
    }

    /// An element with nothing but text in it; without a class where that is empty.
    pub fn element(&mut self, tag: &str, class: &str, text: &str) {
        // Writing to a string never fails.
        let _ = if class.is_empty() {
            write!(self.0, "<{tag}>")
        } else {
            write!(self.0, "<{tag} class=\"{class}\">")
        };
        self.text(text);
        let _ = write!(self.0, "</{tag}>");
    }

    pub fn finish(self) -> String {
        self.0
    }
}
