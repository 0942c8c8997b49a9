//! The planner run forward.

use std::time::Duration;

use crate::desk::{Desk, orders};

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test(flavor = "multi_thread")]
async fn a_forecast_tells_who_would_lapse_and_touches_nothing() {
    let desk = Desk::new();
    let ca = desk.ca().lifetime(6 * DAY).start().await.unwrap();
    let config = desk.around(&ca) + "[certificate.\"a.example\"]\n[certificate.\"b.example\"]\n";
    desk.configure(&config);
    desk.run(&["forecast"]).ends(1).warns("state-unreadable");
    desk.run(&["renew"]).ends(0);
    let before = desk.files("state");
    // A third of three months, each renewed at half its life.
    desk.run(&["forecast", "--days", "30"]).ends(0).says("none lapses").says("busiest day").says("TRIES");
    desk.run(&["forecast", "--ca-down", "2d"]).ends(0).says("no CA answers until").says("none lapses");
    let told = desk.run(&["forecast", "--ca-down", "20d"]).ends(1).says("2 of them LAPSE");
    assert!(told.out.contains("LAPSES"), "{}", told.out);
    let told = desk.run(&["forecast", "a.example", "--json", "--ca-down", "20d"]).ends(1);
    let json: serde_json::Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!((json["version"].as_u64(), json["lapsing"].as_u64()), (Some(1), Some(1)));
    let lineage = &json["lineages"][0];
    assert_eq!(lineage["name"], "a.example");
    assert_eq!(lineage["lapses"].as_array().unwrap().len(), 1);
    assert_eq!(lineage["lapses"][0]["start"], lineage["expires"], "it lapses where it ends");
    assert!(lineage["failures"].as_u64().unwrap() > 20, "{lineage}");
    // A pause past the end is foreseen too, and what can't be foreseen is said.
    desk.run(&["pause", "a.example", "--until", "10d", "--reason", "migration"]).ends(0);
    desk.run(&["forecast"]).ends(1).says("1 of them LAPSE").says("paused until");
    desk.run(&["pause", "a.example", "--until", "0s", "--reason", "over"]).ends(0);
    desk.configure(&format!("{config}[certificate.\"c.example\"]\nnames = []\n"));
    desk.run(&["forecast"]).ends(1).says("c.example: not foreseen, and not renewed");
    desk.run(&["forecast", "--days", "0"]).ends(2);
    desk.run(&["forecast", "--ca-down", "soon"]).ends(2);
    assert_eq!((desk.files("state"), orders(&ca)), (before, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_today_is_said_with_the_tries_that_are_left() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(&(desk.around(&ca) + "[certificate.\"a.example\"]\n"));
    ca.reject_identifier("a.example");
    desk.run(&["renew"]).ends(1);
    desk.run(&["forecast"]).ends(0).says("failing now [").says("taken as mended");
}
