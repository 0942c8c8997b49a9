//! What other tools note in JSON beside their certificates and accounts, and acmetool in YAML.
//! Fields that are not needed are passed over: these formats are theirs.

use serde::Deserialize;

/// A certificate's note by lego (`NAME.json`) or Caddy (`NAME.json`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct CertificateNote {
    /// lego: what it is called.
    pub domain: Option<String>,
    /// lego: where the CA keeps it.
    #[serde(rename = "certUrl")]
    pub url: Option<String>,
    /// Caddy.
    pub sans: Vec<String>,
    /// Caddy.
    pub issuer_data: IssuerData,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct IssuerData {
    pub url: Option<String>,
    /// Newer releases: the CA's directory.
    pub ca: Option<String>,
}

/// An account's note by certbot (`regr.json`), lego (`account.json`), acme.sh (`account.json`),
/// Caddy (`USER.json`) or dehydrated (`account_id.json`): each has the URL under another name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AccountNote {
    uri: Option<String>,
    url: Option<String>,
    location: Option<String>,
    registration: Option<Box<AccountNote>>,
}

impl CertificateNote {
    pub fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }
}

impl AccountNote {
    pub fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// The account's URL at the CA.
    pub fn url(&self) -> Option<&str> {
        [&self.uri, &self.url, &self.location]
            .into_iter()
            .find_map(|text| text.as_deref())
            .or_else(|| self.registration.as_deref().and_then(Self::url))
    }
}

/// The items of a list in YAML that stands below `key`, each on a line of its own: all that
/// acmetool's own files need. Quotes around an item are taken off.
pub fn listed_below(text: &str, key: &str) -> Vec<String> {
    let head = format!("{key}:");
    let mut lines = text.lines().skip_while(|line| line.trim() != head).skip(1);
    std::iter::from_fn(|| lines.next()?.trim().strip_prefix("- "))
        .map(|item| item.trim().trim_matches(['"', '\'']).to_owned())
        .collect()
}

/// The value that stands after `key:` on its line.
pub fn scalar(text: &str, key: &str) -> Option<String> {
    text.lines()
        .find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(':'))
        .map(|value| value.trim().trim_matches(['"', '\'']).to_owned())
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tool_names_the_accounts_url_in_its_own_way() {
        for text in [
            r#"{"body": {}, "uri": "https://ca/acct/1"}"#,
            r#"{"email": "a@b", "registration": {"body": {"status": "valid"}, "uri": "https://ca/acct/1"}}"#,
            r#"{"status": "valid", "location": "https://ca/acct/1"}"#,
            r#"{"url":"https://ca/acct/1"}"#,
        ] {
            assert_eq!(
                AccountNote::parse(text.as_bytes()).unwrap().url(),
                Some("https://ca/acct/1"),
                "{text}"
            );
        }
        assert_eq!(AccountNote::parse(b"{}").unwrap().url(), None);
        assert_eq!(AccountNote::parse(b"no json"), None);
    }

    #[test]
    fn acmetools_lists_are_read() {
        let text = "request:\n  provider: https://ca/dir\n  challenge:\n    webroot-paths:\n    - /var/run/acme\n    - \"/srv\"\n    http-ports:\n    - 80\n";
        assert_eq!(listed_below(text, "webroot-paths"), ["/var/run/acme", "/srv"]);
        assert_eq!(listed_below(text, "names"), Vec::<String>::new());
        assert_eq!(scalar(text, "provider").as_deref(), Some("https://ca/dir"));
        assert_eq!(scalar(text, "absent"), None);
    }

    #[test]
    fn caddy_says_which_names_it_keeps() {
        let note =
            CertificateNote::parse(br#"{"sans":["k.example"],"issuer_data":{"url":"https://ca/cert/1"}}"#)
                .unwrap();
        assert_eq!(note.sans, ["k.example"]);
        assert_eq!(note.issuer_data.url.as_deref(), Some("https://ca/cert/1"));
    }
}
