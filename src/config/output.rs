//! Who may read a certificate's files, and where copies of it go.

use std::sync::Arc;

use toml::de::DeValue;

use super::agent::AgentSettings;
use super::file::Spot;
use super::problem::Problems;
use super::raw::{Layer, Section, wrong_type};
use super::table::{Key, PART_WORDS, Table};
use super::value;
use crate::core::form::Form;
use crate::core::name::{BadName, LineageId};
use crate::core::spec::{Output, Part, Rights};
use crate::core::tree::Tree;

/// Owner, group and mode, where `base` holds what is left out.
pub(super) fn rights(
    section: &Section<'_>,
    mode_key: &str,
    base: &Rights,
    holds_key: bool,
    problems: &mut Problems,
) -> Option<Rights> {
    let mut account = |key: &str, inherited: &Option<String>| match section.find(key) {
        Some(_) => section.parsed(key, "bad-account", account_name, problems).map(Some),
        None => Some(inherited.clone()),
    };
    let (owner, group) = (account("owner", &base.owner), account("group", &base.group));
    let judge = if holds_key { value::key_mode } else { value::cert_mode };
    let mode = match section.find(mode_key) {
        Some(_) => section.mode(mode_key, judge, problems).map(Some),
        None => Some(None),
    };
    let mut rights = Rights { owner: owner?, group: group?, ..base.clone() };
    if let Some(mode) = mode? {
        if holds_key {
            rights.key_mode = mode;
        } else {
            rights.cert_mode = mode;
        }
    }
    Some(rights)
}

/// Most outputs of one certificate.
const OUTPUTS_MAX: usize = 32;

/// A user's or group's name, or its number.
pub(super) fn account_name(text: &str) -> Result<String, BadName> {
    let fits = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '/' | ':' | ',');
    if text.is_empty() || text.len() > 255 || text.starts_with('-') || !text.chars().all(fits) {
        return Err(BadName("this is no name of a user or group"));
    }
    Ok(text.to_owned())
}

/// All outputs of a certificate, or `None` with what is wrong reported.
pub(super) fn outputs(
    id: &LineageId,
    own: &Section<'_>,
    section: &Section<'_>,
    base: &Arc<Rights>,
    agent: &AgentSettings,
    problems: &mut Problems,
) -> Option<Vec<Output>> {
    let mut outputs: Vec<(Output, Spot<'_>)> = Vec::new();
    let mut whole = true;
    if let Some(found) = own.find("outputs") {
        let DeValue::Array(elements) = found.value else {
            let words = format!(
                "a list of tables is needed here: [[{}]] or [{{ part = …, path = … }}]",
                found.spot.path
            );
            problems.error(&found.spot, "wrong-type", words);
            return None;
        };
        if elements.len() > OUTPUTS_MAX {
            problems.error(
                &found.spot,
                "too-many",
                format!("a certificate has at most {OUTPUTS_MAX} outputs"),
            );
            return None;
        }
        for element in elements {
            let spot = found.spot.at(&element.span());
            let DeValue::Table(table) = element.get_ref() else {
                wrong_type(&spot, "a table { part = …, path = … }", element.get_ref(), problems);
                whole = false;
                continue;
            };
            let layer = Layer { file: spot.file, base: spot.base, table };
            let section = Section::new(Table::Output, spot.clone(), vec![layer]);
            section.refuse_unknown(problems);
            match output(&section, base, problems) {
                Some(output) => outputs.push((output, spot)),
                None => whole = false,
            }
        }
    }
    if let Some(word) = own.text("combined", problems) {
        match word.parse("bad-path", value::file_path, problems) {
            Some(path) => {
                let form = Part::Combined.into();
                outputs.push((Output { form, path, rights: base.clone() }, word.spot));
            }
            None => whole = false,
        }
    }
    if let Some(word) = section.text("certbot-tree", problems) {
        match word.parse("bad-path", value::file_path, problems) {
            Some(root) => {
                let path = Tree::path(&root, id.as_str());
                outputs.push((Output { form: Form::Tree, path, rights: base.clone() }, word.spot));
            }
            None => whole = false,
        }
    }
    for (at, (output, spot)) in outputs.iter().enumerate() {
        if outputs[..at].iter().any(|(other, _)| other.path == output.path) {
            problems.error(spot, "duplicate-output", format!("{} is written twice", output.path));
            whole = false;
        }
        let ours = [&agent.state_dir, &agent.live_dir];
        if ours.iter().filter_map(|dir| dir.to_str()).any(|dir| value::lies_in(&output.path, dir)) {
            problems.error_hint(
                spot,
                "output-in-state",
                format!("{} lies inside the agent's own directories", output.path),
                "name a path outside, or use the files of the live directory as they are",
            );
            whole = false;
        }
    }
    whole.then(|| outputs.into_iter().map(|(output, _)| output).collect())
}

fn output(section: &Section<'_>, base: &Arc<Rights>, problems: &mut Problems) -> Option<Output> {
    section.needed_text("path", problems);
    let path = section.parsed("path", "bad-path", value::file_path, problems);
    section.needed_text("part", problems)?;
    let form = form(section, problems)?;
    let rights = self::rights(section, "mode", base, form.holds_key(), problems)?;
    let rights = if rights == **base { base.clone() } else { rights.into() };
    Some(Output { form, path: path?, rights })
}

fn form(section: &Section<'_>, problems: &mut Problems) -> Option<Form> {
    let word = section.choice("part", PART_WORDS, problems)?;
    let pkcs12 = word == "pkcs12";
    let names = Table::Output.key("password-file").map(Key::names).unwrap_or_default();
    if let Some(found) = names.iter().filter(|_| !pkcs12).find_map(|name| section.find(name)) {
        let spot = Spot { span: found.key, ..found.spot };
        problems.error(&spot, "needless-password", format!("`{word}` has no password, only `pkcs12` has"));
        return None;
    }
    let texts = Part::ALL.into_iter().map(Form::from);
    let others = [Form::KeyFirst, Form::CertDer, Form::KeyDer];
    if pkcs12 {
        return Some(Form::Pkcs12 { password: section.secret("password", problems)? });
    }
    texts.chain(others).find(|form| form.word() == word)
}
