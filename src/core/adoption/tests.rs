use super::*;
use crate::core::foundling::{FoundHook, Place, Tool};
use crate::core::leaf::Fingerprint;
use crate::core::spec::{Around, IssuerSpec, LineageSpec, Origin, Terms};
use crate::core::time::Span;

const NOW: Timestamp = Timestamp::EPOCH;

fn name(text: &str) -> SubjectName {
    SubjectName::parse(text).unwrap()
}

fn leaf(names: &[&str]) -> Leaf {
    Leaf {
        names: names.iter().map(|text| name(text)).collect(),
        not_before: NOW - Span::DAY,
        not_after: NOW + Span::days(60),
        serial: "01".into(),
        fingerprint: Fingerprint([1; 32]),
        key: Fingerprint([2; 32]),
        key_kind: Some(KeyKind::Rsa2048),
        ari_id: None,
        issuer: "CA".into(),
        self_signed: false,
    }
}

fn found(tool: Tool) -> Foundling {
    Foundling {
        tool,
        name: "a.example".into(),
        read: Vec::new(),
        names: vec![name("a.example"), name("www.a.example")],
        pair: Ok(Box::new(leaf(&["a.example", "www.a.example"]))),
        key_kind: Some(KeyKind::Rsa2048),
        ca: Some(FoundCa::Directory("https://ca.example/dir".into())),
        account: None,
        challenge: FoundChallenge::Webroot("/srv/www".into()),
        service: None,
        hooks: Vec::new(),
        places: Places::Files(Vec::new()),
        reuse_key: false,
        source: None,
        stop: String::new(),
        untranslated: Vec::new(),
    }
}

fn wanted() -> Wanted {
    let id = IssuerId::parse("ours").unwrap();
    let spec = IssuerSpec {
        id: id.clone(),
        directory: "https://ca.example/dir".into(),
        staging: None,
        contact: Vec::new(),
        accept_terms: true,
        profile: None,
        eab: None,
        ca_file: None,
        proxy: None,
        insecure_http: false,
        origin: Origin::default(),
    };
    Wanted { issuers: [(id, spec)].into(), ..Wanted::default() }
}

fn judged(found: &Foundling) -> Verdict {
    plan(found, &Choice::default(), &wanted(), NOW)
}

fn adopted(found: &Foundling) -> Adoption {
    match judged(found) {
        Verdict::Adopt(adoption) => *adoption,
        other => panic!("{other:?}"),
    }
}

fn code(found: &Foundling) -> &'static str {
    match judged(found) {
        Verdict::Blocked(obstacle) => obstacle.code,
        other => panic!("{other:?}"),
    }
}

fn owned(user: &str, mode: u32) -> FileOwner {
    FileOwner { user: user.into(), group: user.into(), mode }
}

#[test]
fn what_a_tool_keeps_becomes_an_entry() {
    let adoption = adopted(&found(Tool::Certbot));
    let entry = &adoption.entry;
    assert_eq!(entry.issuer.as_ref().map(IssuerId::as_str), Some("ours"), "known by its directory");
    assert_eq!(entry.key, KeyKind::Rsa2048);
    assert_eq!(adoption.filing, Filing::Filed);
    let [NewTable::Solver { id, how }] = &adoption.tables[..] else { panic!("{:?}", adoption.tables) };
    assert_eq!(entry.solver.as_ref(), Some(id));
    assert_eq!((id.as_str(), how), ("webroot-srv-www", &NewSolver::Webroot("/srv/www".into())));
}

#[test]
fn a_pair_that_serves_nobody_is_ordered_anew() {
    let with = |change: &dyn Fn(&mut Leaf)| {
        let mut leaf = leaf(&["a.example"]);
        change(&mut leaf);
        adopted(&Foundling { pair: Ok(Box::new(leaf)), ..found(Tool::Files) }).filing
    };
    assert_eq!(with(&|_| {}), Filing::Filed);
    for (what, change) in [
        ("expired", (&|leaf: &mut Leaf| leaf.not_after = NOW) as &dyn Fn(&mut Leaf)),
        ("not begun", &|leaf| leaf.not_before = NOW + Span::HOUR),
        ("self-signed", &|leaf| leaf.self_signed = true),
    ] {
        assert!(matches!(with(change), Filing::OrderedAnew(_)), "{what}");
    }
    let torn = Foundling { pair: Err("the key is another's".into()), ..found(Tool::Certbot) };
    assert_eq!(adopted(&torn).filing, Filing::OrderedAnew("the key is another's".into()));
}

#[test]
fn who_has_a_name_already_is_said() {
    let mut ours = wanted();
    let spec = LineageSpec {
        id: LineageId::parse("x.example").unwrap(),
        names: vec![name("www.a.example")].into(),
        endpoints: Vec::new().into(),
        outputs: Vec::new().into(),
        origin: Origin::default(),
        terms: Terms {
            issuers: Vec::new(),
            profile: None,
            key: KeyKind::default(),
            reuse_key: false,
            solvers: Vec::new(),
            on_dead_name: crate::core::spec::OnDeadName::default(),
            hooks: Vec::new(),
            after: Vec::new(),
            around: Around::default(),
            observe_timeout: Span::MINUTE,
            deploy_window: None,
            rights: Rights::default().into(),
            labels: crate::core::labels::Labels::default(),
        }
        .into(),
    };
    ours.lineages.insert(spec);
    let verdict = plan(&found(Tool::Lego), &Choice::default(), &ours, NOW);
    assert_eq!(verdict, Verdict::Already(LineageId::parse("x.example").unwrap()));
}

#[test]
fn each_way_of_proving_has_its_counterpart_or_is_refused() {
    let by = |challenge| Foundling { challenge, ..found(Tool::AcmeSh) };
    let solver = |challenge| adopted(&by(challenge)).entry.solver.map(|id| id.to_string());
    assert_eq!(solver(FoundChallenge::Standalone(80)).as_deref(), Some("standalone"));
    assert_eq!(solver(FoundChallenge::Standalone(8080)).as_deref(), Some("standalone-8080"));
    assert_eq!(solver(FoundChallenge::Unknown), None);
    assert_eq!(solver(FoundChallenge::Handshake(443)).as_deref(), Some("tls-standalone"));
    assert_eq!(solver(FoundChallenge::Handshake(8443)).as_deref(), Some("tls-standalone-8443"));
    let tables = adopted(&by(FoundChallenge::Handshake(8443))).tables;
    let made = |table: &NewTable| matches!(table, NewTable::Solver { how: NewSolver::TlsPort(8443), .. });
    assert!(tables.iter().any(made), "{tables:?}");
    let passed_on = adopted(&by(FoundChallenge::HandshakePassedOn));
    assert_eq!(passed_on.entry.solver.as_ref().map(ToString::to_string).as_deref(), Some("tls-loopback"));
    assert!(passed_on.notes.iter().any(|note| note.contains("127.0.0.1:8090")), "{:?}", passed_on.notes);
    assert_eq!(code(&by(FoundChallenge::Other("by dns".into()))), "adopt-challenge");
    let plugin = Foundling { service: Some("nginx"), ..by(FoundChallenge::Server("nginx")) };
    let adoption = adopted(&plugin);
    assert_eq!(adoption.entry.service.as_deref(), Some("nginx"));
    assert!(adoption.notes[0].contains("snippet"), "{:?}", adoption.notes);
}

#[test]
fn hooks_keep_their_moment_and_the_same_one_is_written_once() {
    let hook = |moment, label: &str, call: FoundCall| FoundHook { moment, label: label.into(), call };
    let hooks = vec![
        hook(Moment::Before, "stop", FoundCall::shell("systemctl stop nginx")),
        hook(Moment::Deployed, "Deploy/Dir", FoundCall::Parts("/etc/x".into())),
        hook(Moment::Deployed, "again", FoundCall::Parts("/etc/x".into())),
        hook(Moment::Afterwards, "stop", FoundCall::shell("systemctl start nginx")),
    ];
    let entry = adopted(&Foundling { hooks, ..found(Tool::Certbot) }).entry;
    let names = |ids: &[HookId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&entry.pre_hooks), ["stop"]);
    assert_eq!(names(&entry.post_hooks), ["stop-2"]);
    assert_eq!(names(&entry.hooks), ["deploy-dir"]);
}

#[test]
fn places_stay_with_their_owners_and_a_key_that_was_open_is_closed() {
    let places = |mode| {
        Places::Files(vec![
            Place { part: Part::Privkey, path: "/k".into(), owner: owned("www", mode) },
            Place { part: Part::Fullchain, path: "/c".into(), owner: owned("root", 0o644) },
        ])
    };
    let choice = Choice { user: "root".into(), group: "root".into(), ..Choice::default() };
    let of = |mode| match plan(
        &Foundling { places: places(mode), ..found(Tool::Lego) },
        &choice,
        &wanted(),
        NOW,
    ) {
        Verdict::Adopt(adoption) => *adoption,
        other => panic!("{other:?}"),
    };
    let kept = of(0o600);
    assert!(kept.notes.is_empty(), "{:?}", kept.notes);
    assert_eq!(kept.entry.outputs[0].rights.owner.as_deref(), Some("www"));
    assert_eq!(
        (kept.entry.outputs[0].rights.key_mode, kept.entry.outputs[1].rights.cert_mode),
        (0o600, 0o644)
    );
    assert_eq!(kept.entry.outputs[1].rights.owner, None, "ours by itself");
    let open = of(0o644);
    assert_eq!(open.entry.outputs[0].rights.key_mode, 0o640);
    assert!(open.notes[0].contains("open to everybody"), "{:?}", open.notes);

    let groups = Some(vec!["root".into()]);
    let bound = Choice { user: "agent".into(), group: "agent".into(), groups, ..Choice::default() };
    let found = Foundling { places: places(0o600), ..found(Tool::Lego) };
    let Verdict::Adopt(given) = plan(&found, &bound, &wanted(), NOW) else { panic!("{found:?}") };
    let rights = &given.entry.outputs[0].rights;
    assert_eq!((&rights.owner, &rights.group), (&None, &None), "what can't be given is not asked for");
    assert_eq!(given.entry.outputs[1].rights.group.as_deref(), Some("root"), "a group that it is in is");
    assert!(given.notes[0].contains("www and www"), "{:?}", given.notes);
}

#[test]
fn a_tree_keeps_its_name_or_is_refused() {
    let tree = Places::Tree { root: "/etc/letsencrypt".into(), key: owned("root", 0o600) };
    let named = |name: &str| Foundling { places: tree.clone(), name: name.into(), ..found(Tool::Certbot) };
    let entry = adopted(&named("shop-0001")).entry;
    assert_eq!((entry.id.as_str(), entry.tree.as_deref()), ("shop-0001", Some("/etc/letsencrypt")));
    assert_eq!(code(&named("Shop")), "adopt-name-unfit");
}

#[test]
fn a_ca_of_which_only_the_host_is_known_must_be_ours() {
    let by = |ca| Foundling { ca: Some(ca), ..found(Tool::Caddy) };
    assert!(adopted(&by(FoundCa::Host("ca.example".into()))).entry.issuer.is_some());
    assert_eq!(code(&by(FoundCa::Host("other.example".into()))), "adopt-issuer-unknown");
    let new = adopted(&by(FoundCa::Directory("https://new.example:14000/dir".into())));
    assert!(matches!(&new.tables[0], NewTable::Issuer { id, .. } if id.as_str() == "new-example-14000"));
}

#[test]
fn parts_are_known_by_their_usual_names() {
    for (name, part) in [
        ("fullchain.pem", Some(Part::Fullchain)),
        ("fullchain", Some(Part::Fullchain)),
        ("privkey.pem", Some(Part::Privkey)),
        ("cert", Some(Part::Cert)),
        ("chain", Some(Part::Chain)),
        ("combined", Some(Part::Combined)),
        ("fullchain.pem.bak", None),
        ("full", None),
        ("", None),
    ] {
        assert_eq!(part_of(name), part, "{name}");
    }
}
