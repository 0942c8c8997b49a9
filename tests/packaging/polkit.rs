use std::process::Command;

use crate::desk::{Desk, shipped, skipped, succeed, tool};

/// polkit's objects as far as rules see them, then one question a line: user, action, verb, unit.
const MOCK: &str = r#"
const fs = require("fs"), vm = require("vm");
const rules = [];
const polkit = { Result: { YES: "yes", NO: "no" }, addRule: (rule) => rules.push(rule) };
vm.runInNewContext(fs.readFileSync(process.argv[2], "utf8"), { polkit });
for (const line of fs.readFileSync(process.argv[3], "utf8").trim().split("\n")) {
    const [user, id, verb, unit] = line.split(" ");
    const action = { id, lookup: (key) => ({ verb, unit })[key] };
    const answers = rules.map((rule) => rule(action, { user })).filter((answer) => answer !== undefined);
    console.log(answers.length ? answers[0] : "not-ours");
}
"#;

const MANAGE: &str = "org.freedesktop.systemd1.manage-units";

#[test]
fn reloads_of_listed_units_are_all_that_is_allowed() {
    if tool("node").is_none() {
        return skipped("reloads_of_listed_units_are_all_that_is_allowed", "node is not installed");
    }
    let table = [
        ("nolapse", MANAGE, "reload", "nginx.service", "yes"),
        ("nolapse", MANAGE, "reload", "postfix.service", "yes"),
        ("nolapse", MANAGE, "start", "nolapse-check@nginx.service", "yes"),
        ("nolapse", MANAGE, "restart", "nginx.service", "not-ours"),
        ("nolapse", MANAGE, "stop", "nginx.service", "not-ours"),
        ("nolapse", MANAGE, "start", "nginx.service", "not-ours"),
        ("nolapse", MANAGE, "reload", "sshd.service", "not-ours"),
        ("nolapse", MANAGE, "reload", "nginx.service.evil", "not-ours"),
        ("nolapse", MANAGE, "reload", "evil-nginx.service", "not-ours"),
        ("nolapse", MANAGE, "start", "nolapse-check@sshd.service", "not-ours"),
        ("nolapse", MANAGE, "start", "nolapse-reload@nginx.service", "not-ours"),
        ("nolapse", MANAGE, "restart", "nolapse-check@nginx.service", "not-ours"),
        ("nolapse", "org.freedesktop.systemd1.manage-unit-files", "reload", "nginx.service", "not-ours"),
        ("nobody", MANAGE, "reload", "nginx.service", "not-ours"),
    ];
    let desk = Desk::new("polkit");
    let script = desk.write("mock.js", MOCK);
    let questions: Vec<_> =
        table.iter().map(|(user, id, verb, unit, _)| format!("{user} {id} {verb} {unit}")).collect();
    let questions = desk.write("questions", &questions.join("\n"));
    let answers =
        succeed(Command::new("node").arg(script).arg(shipped("polkit/50-nolapse.rules")).arg(questions));
    assert_eq!(answers.lines().count(), table.len(), "{answers}");
    for ((user, id, verb, unit, expected), answer) in table.iter().zip(answers.lines()) {
        assert_eq!(answer, *expected, "{user} {id} {verb} {unit}");
    }
}
