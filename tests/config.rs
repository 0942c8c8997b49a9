//! The configuration as an operator meets it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use nolapse::config::{Facts, Source, resolve};

#[test]
fn the_commonest_case() {
    let text = r#"
[issuer.letsencrypt]
accept-terms = true

[certificate."shop.example.com"]
names   = ["shop.example.com", "www.shop.example.com"]
service = "nginx"
"#;
    let resolved = resolve(&[Source::new("nolapse.toml", text)], &Facts::default());
    assert_eq!(resolved.problems, []);
    let spec = resolved.wanted.lineages.values().next().unwrap();
    let endpoints: Vec<_> = spec.endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(endpoints.len(), 4);
    assert_eq!(endpoints[0], "https://shop.example.com@127.0.0.1:443");
    assert_eq!(spec.origin, "nolapse.toml:5");
}
