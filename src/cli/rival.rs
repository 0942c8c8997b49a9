//! Another tool that renews the same names: two programs that pay for the same certificate and
//! reload the same server. Said by `check` and `status`.

use std::path::Path;

use crate::cli::report::{Line, Report, Severity};
use crate::core::finding::Finding;
use crate::core::spec::Wanted;
use crate::wire::{self, Rival};

/// Stable: what a rival is called.
pub const CODE: &str = "renewed-twice";

pub fn findings(rivals: &[Rival], wanted: &Wanted) -> Vec<Finding> {
    let ours = |rival: &Rival| {
        wanted.lineages.values().find(|spec| spec.names.iter().any(|name| rival.names.contains(name)))
    };
    rivals
        .iter()
        .filter_map(|rival| {
            let words = format!(
                "{} also renews {}, which is in our certificate {}",
                rival.tool,
                rival.name,
                ours(rival)?.id
            );
            Some(
                Finding::warning(CODE, words)
                    .seen(format!("{} and /{}", rival.evidence, rival.starter))
                    .fix(format!("when the server uses our files:  {}", rival.stop)),
            )
        })
        .collect()
}

/// Adds what other tools renew as well to the lines that it concerns.
pub fn note(report: Report) -> Report {
    let rivals = wire::rivals(Path::new("/"));
    if rivals.is_empty() {
        return report;
    }
    let Report { at, mut lineages, .. } = report;
    for rival in &rivals {
        let shared = |line: &&mut Line| {
            line.standing != "retired"
                && rival.names.iter().any(|name| line.names.contains(&name.to_string()))
        };
        for line in lineages.iter_mut().filter(shared) {
            line.severity = line.severity.max(Severity::Warning);
            line.notes.push(format!(
                "{} renews it as {} too (/{}) [{CODE}]",
                rival.tool, rival.name, rival.starter
            ));
            if line.advice.is_none() {
                line.advice = Some(rival.stop.clone());
                line.advice_code = Some(CODE.to_owned());
            }
        }
    }
    Report::new(at, lineages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Facts, Source};
    use crate::core::foundling::Tool;
    use crate::core::name::SubjectName;

    #[test]
    fn who_else_renews_one_of_our_names_is_told() {
        let text = "[certificate.\"a.example\"]\nnames = [\"a.example\", \"www.a.example\"]\n";
        let wanted = config::resolve(&[Source::new("a", text)], &Facts::default()).wanted;
        let rival = |name: &str| Rival {
            tool: Tool::Lego,
            name: "theirs".into(),
            names: [SubjectName::parse(name).unwrap()].into(),
            starter: "etc/cron.d/lego".into(),
            evidence: "/var/lib/lego/certificates/theirs.json".into(),
            stop: "stop it".into(),
        };
        let found = findings(&[rival("www.a.example"), rival("b.example")], &wanted);
        let [only] = &found[..] else { panic!("{found:?}") };
        assert!(only.words.contains("lego also renews theirs") && only.evidence.contains("/etc/cron.d/lego"));
        assert_eq!((only.code.as_str(), only.fix.contains("stop it")), (CODE, true));
    }
}
