//! The scoreboard: what is aimed at, and how far it is today.

/// One figure.
pub struct Figure {
    pub id: &'static str,
    pub what: &'static str,
    pub target: &'static str,
    pub today: &'static str,
}

const fn figure(id: &'static str, what: &'static str, target: &'static str, today: &'static str) -> Figure {
    Figure { id, what, target, today }
}

#[rustfmt::skip]
pub const FIGURES: [Figure; 23] = [
    figure("S01", "simulated certificate-years with random faults", "10^6 a night, no breach of P", "drawn histories of one to six certificates: 40 fixed seeds and a box of random ones in each run, no breach; 4,986 years from other seeds, no breach; 10^6 take ten hours and a half on two cores at the rate measured (13.9 a second and core); the whole 10^6 not run yet"),
    figure("S02", "longest outage survived with one good hour in between", "28 d of 90 d, 14 d of 45 d, 76 h of 160 h", "28 d of 90 d, 14 d of 45 d and 76 h of 160 h, renewed in the one good hour (`s02_one_good_hour_after_weeks_without_a_ca_is_enough`)"),
    figure("S03", "crash points of issue, renew, deploy", "every system call, no bad state", "every call that the program makes in six scenes, killed before and after: 1,670 kills, none bad"),
    figure("S04", "power-loss states", "100,000 distinct, none bad", "100,008 different states by what is on the disk, none bad, from 652,064 power cuts at every step of two installations at once, which tear writes at any octet, lose a sector and drop directory entries; 702,500 cuts of one alone, none bad"),
    figure("S05", "errors injected into calls", "every call, once and lasting", "every call of all six scenes (a first certificate by files and by an own listener, a renewal, installing again, a change by hand, mending a record), eight errors, once and lasting: 36,656 cases; 2 bad, of one cause, mended since"),
    figure("S06", "pairs read while renewing", "10^7 reads, 10^4 renewals, none mixed", "`f03_readers_never_see_a_mixed_generation`"),
    figure("S07", "racing agents", "1,000 × two, 100 × ten: one order each", "1,000 of two, 100 of ten: one order and one deployment each"),
    figure("S08", "nonces refused", "all issued at 50 %, no storm at 90 %", "all issued at 50 %; a storm without end is given up"),
    figure("S09", "orders for each renewal needed", "at most 1.02", "one order a renewal in all stories; one orphan at most where an answer is lost"),
    figure("S10", "from \"renew now\" to observed", "the polling interval and 5 min", "within an hour of learning it, in the simulator"),
    figure("S11", "false success after a sabotaged reload", "0 of 1,000", "0 of 1,180: nginx, haproxy, apache2, caddy, postfix, dovecot, proftpd and PostgreSQL made to lie in 29 ways, before, at and after the reload, everywhere or at one of two names or ports, with ECDSA and RSA (`tests/servers/sabotage.rs`)"),
    figure("S12", "silent failures", "none", "none in the 2,145 times that the fixed seeds had something amiss for eight hours: a law of the simulator (told); exit codes, status and metrics are checked where a scenario's test meets them"),
    figure("S13", "recovery after SIGKILL", "lock 100 ms, healthy 2 s", "lock at once (`f07_a_lock_dies_with_its_process_and_names_its_holder`); see `docs/performance.md` for starts"),
    figure("S14", "clock chaos", "10,000 histories", "10,000 histories in which only time goes wrong (`s14_ten_thousand_histories_of_clocks_and_sleep`): 20,099 times a clock was set, by up to ten years, 9,938 sleeps, 45,747 certificates by as many orders, none lapsed that a good hour could have kept; 40 more in each run"),
    figure("S15", "fuzzing", "12 targets", "fifteen targets with seeds and laws; guided by coverage (libFuzzer on stable Rust) four minutes each: 9.8 million inputs, one law broken and mended"),
    figure("S16", "hostile CA cases", "500, peak 64 MiB", "1,467 cases to the adapter and 31 to the program; peak 55.6 MiB with the CA in the same process"),
    figure("S17", "test strength", "95 % of lines, 90 % of mutants", "unit tests alone: of 200 drawn faults in the core 75 % noticed at first, 99 % (196 of 198 that change anything) after the tests they asked for; of 100 in the store 75 %, not gone through yet; with the tests of config and cli 59 % of all lines (config 95 %, core 92 %, codec 89 %, store 86 %), other whole programs not counted yet"),
    figure("S18", "leaks over 10,000 renewals and 10^6 idle ticks", "memory 1 MiB at most, descriptors, files, zombies 0", "10,000 renewals with 10,000 hook processes: +44 KiB, descriptors, files and zombies +0; 6,000 in each CI run +104 KiB, the rest +0; 10^6 idle ticks of ten certificates +0 KiB, the rest +0"),
    figure("S19", "secrets found in logs, arguments, environment, temporary files", "0", "0: every test of `tests/servers` searches what the program said and published; cores are not searched"),
    figure("S20", "sandbox", "exposure at most 1.0, no capability, all tests green in it", "exposure at most 1.5 is checked by `t16_exposure_is_low_and_printed`; issue, renew, reload and observe pass under the unit's restrictions, read from the unit"),
    figure("S21", "upgrade and downgrade", "five releases both ways", "one release: its state is read and gone on with, a newer state is refused byte for byte"),
    figure("S22", "configuration mutations", "10,000, no other certificate touched, daemon never stopped", "10,000 changes inside one table (none moved another certificate), 10,000 anywhere (no panic, nothing lost in silence), 60 by SIGHUP: the daemon lives and renews"),
    figure("S23", "bug bank", "100 bugs of peers", "BANK"),
];
