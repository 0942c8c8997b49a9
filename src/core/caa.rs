//! Whether CAA records let a CA issue (RFC 8659), for our account and by our kinds of proof (RFC 8657).

use super::domain_name::DomainName;
use super::record::ChallengeKind;

/// One record, as it stands in DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaaRecord {
    /// Who does not know the tag must not issue.
    pub critical: bool,
    /// In lower case.
    pub tag: String,
    pub value: String,
}

/// The records that count for a name: those of its closest ancestor that has any, itself included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaaSet {
    /// Where they stand.
    pub at: DomainName,
    pub records: Vec<CaaRecord>,
}

/// Who wants to issue, and how.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The names by which records know the CA; none where it does not say.
    pub identities: &'a [String],
    /// URL of our account there, once it is known.
    pub account: Option<&'a str>,
    /// Kinds of proof that could be given.
    pub kinds: &'a [ChallengeKind],
    pub wildcard: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    /// No record speaks of issuing.
    Free,
    Given,
    Denied(Denial),
    /// The CA does not say by which name records know it.
    NameUnknown,
    /// Given to this account, and ours is not known yet.
    AccountUnknown(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// A critical property that no CA can be expected to know.
    Critical(String),
    /// Nobody may issue.
    Nobody,
    /// Others may, and these are they.
    Others(Vec<String>),
    /// The CA may, for this account only.
    Account(String),
    /// The CA may, by these kinds of proof only.
    Methods(String),
}

/// Tags that CAs know (RFC 8659 §4, RFC 9495, CA/Browser Forum Baseline Requirements appendix A, VMC).
const KNOWN: [&str; 7] =
    ["issue", "issuewild", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone"];

impl CaaSet {
    /// Records shown as evidence; a zone with more has them for other reasons.
    const SHOWN: usize = 8;

    pub fn permission(&self, candidate: &Candidate<'_>) -> Permission {
        let strange = |record: &&CaaRecord| record.critical && !KNOWN.contains(&record.tag.as_str());
        if let Some(strange) = self.records.iter().find(strange) {
            return Permission::Denied(Denial::Critical(strange.tag.clone()));
        }
        let of = |tag: &str| -> Vec<Issue<'_>> {
            let tagged = self.records.iter().filter(|record| record.tag == tag);
            tagged.map(|record| Issue::parse(&record.value)).collect()
        };
        // RFC 8659 §4.3: where there is an issuewild, stars ask it alone.
        let wild = of("issuewild");
        let asked = if candidate.wildcard && !wild.is_empty() { wild } else { of("issue") };
        if asked.is_empty() {
            return Permission::Free;
        }
        let named: Vec<_> = asked.iter().filter_map(|issue| issue.issuer.as_deref()).collect();
        if named.is_empty() {
            return Permission::Denied(Denial::Nobody);
        }
        if candidate.identities.is_empty() {
            return Permission::NameUnknown;
        }
        let mut refusal = None;
        for issue in &asked {
            if !issue.issuer.as_ref().is_some_and(|name| candidate.identities.contains(name)) {
                continue;
            }
            match issue.terms(candidate) {
                Permission::Given => return Permission::Given,
                // What only waits to be known is less bad than what is known to be refused.
                other if matches!(other, Permission::AccountUnknown(_)) => refusal = Some(other),
                other => refusal = refusal.or(Some(other)),
            }
        }
        refusal.unwrap_or_else(|| {
            Permission::Denied(Denial::Others(named.into_iter().map(str::to_owned).collect()))
        })
    }
}

/// As a zone file has them: `0 issue "ca.example"`.
impl std::fmt::Display for CaaSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CAA at {}:", self.at)?;
        for (at, record) in self.records.iter().take(Self::SHOWN).enumerate() {
            let flags = if record.critical { 128 } else { 0 };
            let value = super::failure::plain(&record.value, 200);
            let tag = super::failure::plain(&record.tag, 30);
            write!(f, "{} {flags} {tag} {value:?}", if at > 0 { "," } else { "" })?;
        }
        match self.records.len().saturating_sub(Self::SHOWN) {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

/// The value of an `issue` or `issuewild`: `ca.example; accounturi=https://…; validationmethods=dns-01`.
struct Issue<'a> {
    /// `None`: nobody, which a malformed value means as well (RFC 8659 §4.2).
    issuer: Option<String>,
    parameters: Vec<(String, &'a str)>,
}

impl<'a> Issue<'a> {
    fn parse(value: &'a str) -> Self {
        const NOBODY: Issue<'static> = Issue { issuer: None, parameters: Vec::new() };
        let mut parts = value.split(';').map(str::trim);
        let issuer = parts.next().unwrap_or_default();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        if issuer.is_empty() || !issuer.chars().all(fits) {
            return NOBODY;
        }
        let mut parameters = Vec::new();
        for part in parts.filter(|part| !part.is_empty()) {
            let Some((tag, value)) = part.split_once('=') else { return NOBODY };
            parameters.push((tag.trim().to_ascii_lowercase(), value.trim()));
        }
        Self { issuer: Some(issuer.trim_end_matches('.').to_ascii_lowercase()), parameters }
    }

    /// Whether its parameters let this account and these kinds pass.
    fn terms(&self, candidate: &Candidate<'_>) -> Permission {
        let all = |tag: &str| -> Vec<&str> {
            let tagged = self.parameters.iter().filter(|(known, _)| known == tag);
            tagged.map(|(_, value)| *value).collect()
        };
        // RFC 8657 §3: two of them can't be met; no account is both.
        let accounts = all("accounturi");
        let unmet = accounts.iter().find(|wanted| candidate.account.is_none_or(|ours| ours != **wanted));
        if let Some(wanted) = unmet {
            let wanted = super::failure::plain(wanted, 300);
            return match candidate.account {
                None if accounts.len() == 1 => Permission::AccountUnknown(wanted),
                _ => Permission::Denied(Denial::Account(wanted)),
            };
        }
        for methods in all("validationmethods") {
            let allowed = |kind: &ChallengeKind| methods.split(',').any(|word| word.trim() == kind.word());
            if !candidate.kinds.iter().any(allowed) {
                return Permission::Denied(Denial::Methods(super::failure::plain(methods, 200)));
            }
        }
        Permission::Given
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(rows: &[&str]) -> CaaSet {
        let record = |row: &&str| {
            let mut parts = row.splitn(3, ' ');
            let critical = parts.next() == Some("128");
            let tag = parts.next().unwrap().to_owned();
            CaaRecord { critical, tag, value: parts.next().unwrap_or_default().to_owned() }
        };
        CaaSet { at: DomainName::parse("a.example").unwrap(), records: rows.iter().map(record).collect() }
    }

    fn judged(rows: &[&str], wildcard: bool, account: Option<&str>) -> Permission {
        let identities = ["ca.example".to_owned(), "old-ca.example".to_owned()];
        let kinds = [ChallengeKind::Http01, ChallengeKind::Dns01];
        set(rows).permission(&Candidate { identities: &identities, account, kinds: &kinds, wildcard })
    }

    #[test]
    fn f38_what_a_zone_allows_is_read_as_a_ca_reads_it() {
        let others = |names: &[&str]| {
            Permission::Denied(Denial::Others(names.iter().map(|name| (*name).to_owned()).collect()))
        };
        let nobody = Permission::Denied(Denial::Nobody);
        for (what, rows, star, expected) in [
            ("no record of issuing is no limit", &["0 iodef mailto:a@b"][..], false, Permission::Free),
            ("our CA by name", &["0 issue ca.example"], false, Permission::Given),
            ("by its other name, in capitals", &["0 issue Old-CA.example."], false, Permission::Given),
            ("somebody else", &["0 issue x.example"], false, others(&["x.example"])),
            (
                "somebody else and ours",
                &["0 issue x.example", "0 issue ca.example"],
                false,
                Permission::Given,
            ),
            ("nobody", &["0 issue ;"], false, nobody.clone()),
            ("an empty value is nobody", &["0 issue"], false, nobody.clone()),
            ("a malformed value is nobody", &["0 issue %%%%%"], false, nobody.clone()),
            ("a parameter without a value", &["0 issue ca.example; policy"], false, nobody.clone()),
            ("nobody and ours", &["0 issue ;", "0 issue ca.example"], false, Permission::Given),
            ("nobody and somebody else", &["0 issue ;", "0 issue x.example"], false, others(&["x.example"])),
            ("stars ask issue where there is no issuewild", &["0 issue ca.example"], true, Permission::Given),
            ("stars ask issuewild alone", &["0 issue ca.example", "0 issuewild ;"], true, nobody.clone()),
            (
                "others don't ask issuewild",
                &["0 issue ca.example", "0 issuewild ;"],
                false,
                Permission::Given,
            ),
            ("issuewild alone leaves others free", &["0 issuewild x.example"], false, Permission::Free),
            ("a strange property", &["0 future x", "0 issue ca.example"], false, Permission::Given),
            (
                "a strange critical property",
                &["128 future x", "0 issue ca.example"],
                false,
                Permission::Denied(Denial::Critical("future".into())),
            ),
            ("a known critical property", &["128 issue ca.example"], false, Permission::Given),
            ("a parameter that nobody knows", &["0 issue ca.example; x=y"], false, Permission::Given),
        ] {
            assert_eq!(judged(rows, star, Some("https://ca/1")), expected, "{what}");
        }
    }

    #[test]
    fn f38_t17_accounts_and_methods_are_compared() {
        let ours = "https://ca/1";
        let account = |uri: &str| Permission::Denied(Denial::Account(uri.to_owned()));
        let methods = |words: &str| Permission::Denied(Denial::Methods(words.to_owned()));
        for (what, rows, known, expected) in [
            (
                "our account",
                &["0 issue ca.example; accounturi=https://ca/1"][..],
                Some(ours),
                Permission::Given,
            ),
            (
                "another",
                &["0 issue ca.example; accounturi=https://ca/2"],
                Some(ours),
                account("https://ca/2"),
            ),
            (
                "an account before we have one",
                &["0 issue ca.example; accounturi=https://ca/2"],
                None,
                Permission::AccountUnknown("https://ca/2".into()),
            ),
            (
                "another record has ours",
                &[
                    "0 issue ca.example; accounturi=https://ca/2",
                    "0 issue ca.example;accounturi = https://ca/1",
                ],
                Some(ours),
                Permission::Given,
            ),
            (
                "two at once can't be met",
                &["0 issue ca.example; accounturi=https://ca/1; accounturi=https://ca/2"],
                Some(ours),
                account("https://ca/2"),
            ),
            (
                "a method of ours",
                &["0 issue ca.example; validationmethods=x,dns-01"],
                Some(ours),
                Permission::Given,
            ),
            (
                "no method of ours",
                &["0 issue ca.example; validationmethods=tls-alpn-01"],
                Some(ours),
                methods("tls-alpn-01"),
            ),
        ] {
            assert_eq!(judged(rows, false, known), expected, "{what}");
        }
        let unnamed = Candidate { identities: &[], account: None, kinds: &[], wildcard: false };
        assert_eq!(set(&["0 issue x.example"]).permission(&unnamed), Permission::NameUnknown);
        assert_eq!(set(&["0 issue ;"]).permission(&unnamed), Permission::Denied(Denial::Nobody));
    }

    #[test]
    fn a_set_is_shown_as_a_zone_file_has_it() {
        let shown = set(&["0 issue ca.example", "128 future \u{1b}[31m"]).to_string();
        assert_eq!(shown, "CAA at a.example: 0 issue \"ca.example\", 128 future \"\\\\u{1b}[31m\"");
    }

    proptest::proptest! {
        /// A record more can only add issuers, unless it is critical and strange.
        #[test]
        fn more_issue_records_never_take_a_permission_away(values in proptest::collection::vec("\\PC{0,30}", 0..6)) {
            let mut set = set(&["0 issue ca.example"]);
            for value in values {
                set.records.push(CaaRecord { critical: false, tag: "issue".into(), value });
            }
            let identities = ["ca.example".to_owned()];
            let candidate = Candidate { identities: &identities, account: None, kinds: &[], wildcard: false };
            proptest::prop_assert_eq!(set.permission(&candidate), Permission::Given);
        }
    }
}
