//! Failure scenarios and threats, each with the tests that prove what is done about it, or with a
//! plain reason why there is none. Tests go by their names, which are found in the sources wherever
//! they stand.

/// One failure scenario or threat.
pub struct Row {
    /// `F01`, `T01`.
    pub id: &'static str,
    pub what: &'static str,
    pub proof: Proof,
}

pub enum Proof {
    /// Tests that prove the required behaviour, and what of it they leave out, if anything.
    By(&'static [&'static str], &'static str),
    /// Why no test proves it.
    None(&'static str),
}

use Proof::By;

const fn row(id: &'static str, what: &'static str, proof: Proof) -> Row {
    Row { id, what, proof }
}

#[rustfmt::skip]
pub const FAILURES: [Row; 62] = [
    row("F01", "torn or empty PEM", By(&[
        "f01_f05_a_disk_that_fails_at_any_step_leaves_one_whole_generation",
        "f01_a_full_disk_leaves_no_half_file",
        "f01_on_a_full_disk_no_order_is_placed_and_all_is_well_when_there_is_space_again",
    ], "")),
    row("F02", "key and certificate do not match", By(&[
        "f02_f03_every_prefix_of_every_plan_shows_one_whole_generation",
        "f02_killed_at_any_call_an_issuance_goes_on_with_the_same_order",
        "f02_a_renewal_that_fails_anywhere_leaves_the_pair_untouched",
    ], "")),
    row("F03", "a reader sees a mixed generation", By(&[
        "f03_readers_never_see_a_mixed_generation",
        "f03_killed_at_any_moment_the_pair_is_whole_and_no_order_is_lost",
    ], "")),
    row("F04", "a rename that does not last", By(&[
        "f04_a_power_cut_at_every_step_leaves_one_whole_generation",
        "f04_power_cut_at_any_step_of_a_renewal_readers_see_one_generation",
        "f04_power_cut_at_every_step_of_every_change",
    ], "")),
    row("F05", "a failed fsync is passed over", By(&[
        "f05_failed_fsync_is_final",
        "f01_f04_f05_every_entry_is_old_or_new_whatever_fails",
    ], "")),
    row("F06", "state claims more than the disk has", By(&[
        "f06_whatever_part_of_the_state_is_lost_at_most_one_order_follows",
        "f02_killed_during_the_download_it_resumes_the_same_order",
        "the_disk_is_put_right_whatever_happened_to_it",
    ], "")),
    row("F07", "a stale lock", By(&[
        "f07_a_lock_dies_with_its_process_and_names_its_holder",
        "a_killed_daemon_leaves_no_claim_behind",
    ], "")),
    row("F08", "a holder that lives and hangs", By(&[
        "f08_a_hanging_program_is_stopped_with_all_its_group",
        "f08_a_broken_promise_is_a_hang_and_a_long_sleep_is_not",
        "f08_a_stuck_loop_starves_the_watchdog",
        "f08_a_server_that_never_answers_ends_with_the_deadline",
        "a_claim_held_past_the_wait_is_exit_4_and_names_the_holder",
    ], "")),
    row("F09", "two agents at once", By(&[
        "f09_no_swap_is_lost_between_processes",
        "f09_of_two_who_create_one_wins",
        "two_renewals_at_once_place_one_order",
        "f09_a_daemon_that_holds_the_port_answers_for_a_renewal_in_another_process",
    ], "")),
    row("F10", "administrators edit the tree", By(&[
        "f10_f11_files_that_were_deleted_edited_chmodded_or_copied_are_put_right_without_an_order",
        "f10_somebody_elses_newer_pair_is_held_until_it_is_taken_back",
    ], "")),
    row("F11", "owner and mode drift", By(&[
        "f11_drifted_modes_are_put_right_even_where_the_owner_cannot_read",
        "outputs_get_their_owner_group_and_mode_and_what_was_there_is_kept",
    ], "")),
    row("F12", "a store that takes no writes", By(&[
        "f12_a_disk_that_takes_no_writes_is_noticed_before_an_order",
        "f12_on_a_read_only_state_no_order_is_placed",
        "f12_on_a_full_disk_no_order_is_placed",
    ], "")),
    row("F13", "no descriptors, quota or inodes left", By(&[
        "f13_with_any_number_of_descriptors_the_pair_is_whole_and_the_next_run_is_well",
    ], "quota and inodes only as the disk errors of F01")),
    row("F14", "corrupt state", By(&[
        "f14_every_byte_flipped_zeroed_or_cut_off_is_noticed",
        "f14_an_entry_without_a_good_copy_is_quarantined_and_the_rest_goes_on",
        "f14_a_damaged_record_falls_back_and_is_mended",
    ], "")),
    row("F15", "a hook's failure is swallowed", By(&[
        "f15_a_hook_that_fails_three_times_is_tried_again_without_a_new_order",
        "f15_every_way_to_fail_is_told_apart",
        "renew_ends_as_the_table_of_exit_codes_says",
    ], "")),
    row("F16", "the reload \"succeeds\", the old certificate is served", By(&[
        "f16_a_reload_that_lies_is_owed_until_the_new_certificate_is_served",
        "a_reload_that_silently_keeps_the_old_certificate_is_old_and_exit_3",
        "f16_a_lying_nginx_is_caught",
        "f16_a_lying_haproxy_is_caught",
        "f16_a_lying_apache_is_caught",
        "f16_a_lying_postfix_is_caught",
        "f16_a_lying_dovecot_is_caught",
        "f16_one_backend_of_four_that_lags_is_met",
    ], "")),
    row("F17", "somebody else's error blocks the reload", By(&[
        "f17_a_broken_vhost_of_somebody_else_owes_the_reload_and_rolls_nothing_back",
    ], "")),
    row("F18", "hooks are counted wrong", By(&[
        "f18_five_certificates_renewed_together_share_one_reload",
        "certificates_renewed_together_are_told_together",
    ], "")),
    row("F19", "a hook hangs, forks, floods", By(&[
        "f19_a_hook_that_hangs_holds_nothing_up_but_itself",
        "f19_a_hook_that_hangs_is_stopped",
        "f19_a_flood_is_read_and_mostly_dropped",
        "a_background_process_that_kept_the_pipe_does_not_hold_us_up",
    ], "")),
    row("F20", "a hook works by hand and not in service", By(&[
        "a_program_gets_its_input_and_environment_and_nothing_else",
        "f20_t16_under_the_shipped_units_restrictions_it_issues_installs_reloads_and_observes",
    ], "")),
    row("F21", "only some targets are told", By(&[
        "f21_of_five_targets_only_the_missing_ones_are_told_again",
    ], "")),
    row("F22", "copies in other formats are stale", By(&[
        "f22_every_copy_is_of_the_generation_that_is_shown",
        "outputs_are_held_together_by_one_foreign_file",
    ], "PEM only: there is no PKCS#12 or JKS")),
    row("F23", "the job never ran", By(&[
        "f23_when_nothing_runs_status_says_so",
        "f08_a_broken_promise_is_a_hang_and_a_long_sleep_is_not",
        "units_verify_with_nothing_said",
        "f23_the_heartbeat_stands_for_a_loop_that_moves",
    ], "")),
    row("F24", "suspend, or a paused machine", By(&[
        "f24_three_weeks_of_sleep_over_the_renewal_point_end_in_a_renewal",
        "the_kernel_timer_ends_at_its_date_and_not_before",
    ], "")),
    row("F25", "a wrong clock", By(&[
        "f25_a_clock_ten_years_off_costs_one_order_at_most_and_does_no_lasting_harm",
        "f25_a_host_that_boots_with_a_clock_ten_years_off_recovers_when_it_is_set",
        "f25_a_clock_years_off_is_told",
    ], "")),
    row("F26", "a certificate that is not valid now is delivered", By(&[
        "f53_f26_only_a_right_answer_becomes_a_generation",
        "f26_a_certificate_for_another_key_is_never_shown_and_soon_replaced",
    ], "")),
    row("F27", "a loop of renewals", By(&[
        "f27_at_most_three_issuances_a_lifetime_and_never_expired",
        "f27_a_ca_that_always_wants_it_back_is_held_to_two_in_a_tenth_of_life",
        "weeks_of_short_lifetimes_take_no_order_too_many",
    ], "")),
    row("F28", "a backoff that overflows", By(&[
        "f28_no_history_makes_the_wait_zero",
        "f28_a_hundred_thousand_failures_in_a_row_never_wait_less_than_the_floor",
    ], "")),
    row("F29", "gives up", By(&[
        "f29_after_two_years_of_failing_the_first_good_hour_is_used",
        "f29_free_looks_come_every_half_hour_while_failing",
    ], "")),
    row("F30", "a herd at midnight", By(&[
        "f30_ten_thousand_hosts_that_began_together_renew_apart",
        "points_spread_over_the_window",
    ], "")),
    row("F31", "one stuck certificate delays the rest", By(&[
        "f31_a_ca_that_never_answers_delays_nobody_elses_certificate",
    ], "")),
    row("F32", "an upgrade breaks the client", By(&[
        "f32_the_state_of_the_last_release_is_read_and_gone_on_with",
        "f32_a_newer_state_is_refused_before_any_write",
        "f32_a_state_of_a_newer_release_is_refused_before_any_write",
    ], "one release so far")),
    row("F33", "a default changes", By(&[
        "the_guide_lists_every_key_as_it_is",
        "the_commonest_case_is_six_lines",
        "waits_are_the_programs_own",
    ], "")),
    row("F34", "a secondary name server lags", By(&[
        "f34_a_server_that_lags_is_named_and_the_cap_ends_the_wait",
        "f34_of_two_servers_in_the_zones_own_records_the_one_that_lags_is_waited_for",
        "f34_a_resolver_that_must_see_the_text_is_waited_for_after_all_servers_and_named",
        "f34_a_resolver_of_seen_by_that_lags_is_told_and_holds_nothing_up_for_ever",
        "f34_a_resolver_that_remembers_that_there_was_nothing_is_waited_for",
    ], "")),
    row("F35", "the self-check is blocked although the CA can see the answer", By(&[
        "f35_what_is_not_seen_from_here_is_told_to_the_ca_all_the_same",
        "f35_an_order_waits_once_for_a_text_that_nobody_seems_to_have_set",
    ], "")),
    row("F36", "the IPv6 address leads elsewhere", By(&[
        "f36_the_family_that_fails_is_named",
        "f36_the_dead_ipv6_address_is_named_while_ipv4_answers",
        "f36_f38_each_certificate_is_told_what_is_wrong_with_its_names",
    ], "told by `doctor`, before a first order and beside a CA's refusal; no order waits for it")),
    row("F37", "port 80 is taken", By(&[
        "f37_a_port_in_use_names_its_holder",
        "f37_a_port_held_by_a_stranger_costs_no_validation",
        "f37_a_closed_port_of_this_host_is_certain_unless_our_listener_opens_it",
        "f37_a_port_in_use_for_tls_alpn_names_its_holder_and_costs_no_order",
        "f37_a_server_that_keeps_the_port_to_itself_is_named_before_an_order",
    ], "")),
    row("F38", "a CAA record forbids", By(&[
        "f38_what_a_zone_allows_is_read_as_a_ca_reads_it",
        "f38_records_of_a_real_server_count_from_the_closest_name_upwards",
        "f38_broken_signatures_are_told_from_a_denial_and_from_a_failing_server",
        "f38_after_a_refusal_for_caa_no_order_is_spent_until_it_is_mended_and_never_for_ever",
        "f38_a_first_order_waits_for_what_is_certain_but_not_for_long_and_never_by_hand",
        "f38_a_first_order_is_put_off_for_what_is_certain_twice_at_most",
        "f38_only_the_first_order_of_a_set_of_names_is_looked_at_and_a_renewal_asks_nobody",
    ], "looked up by `doctor`, before the first order for a set of names, and after a refusal; a renewal finds out by the CA's")),
    row("F39", "one dead name blocks the others", By(&[
        "a_name_that_fails_until_last_resort_does_not_let_the_old_names_lapse",
        "f39_the_old_names_are_renewed_at_last_resort_when_a_changed_set_keeps_failing",
        "a_failed_challenge_tells_which_name_and_why",
        "f39_a_dead_name_is_left_out_at_last_resort_and_taken_in_when_it_is_back",
        "f39_a_name_that_the_ca_does_not_take_is_left_out_where_the_entry_allows_it",
    ], "a name that was always in the set is left out only where `on-dead-name` allows it")),
    row("F40", "authorization or order is further on than expected", By(&[
        "authorizations_that_are_valid_already_need_no_challenge",
        "a_reused_authorization_needs_no_second_challenge",
        "an_attempt_is_picked_up_wherever_it_was_left",
    ], "")),
    row("F41", "leftovers after a crash", By(&[
        "f41_answers_that_could_not_be_removed_are_removed_later",
        "unfinished_files_are_swept_and_strangers_are_not",
    ], "")),
    row("F42", "nonces refused", By(&[
        "a_nonce_storm_of_one_half_is_weathered",
        "a_nonce_storm_without_end_is_given_up",
        "half_of_all_nonces_refused_is_no_trouble",
        "what_is_old_malformed_or_too_much_is_dropped",
    ], "")),
    row("F43", "an order that is stuck", By(&[
        "f43_an_order_that_is_processing_for_ever_is_given_up_and_replaced",
        "f43_a_slow_ca_is_parked_after_ten_minutes_and_asked_again_later",
    ], "")),
    row("F44", "Retry-After in every form", By(&[
        "a_wish_is_seconds_or_a_date",
        "no_header_makes_a_wish_out_of_bounds",
        "a_retry_after_is_believed_within_bounds",
        "polls_double_from_five_milliseconds_and_the_cas_wish_is_clamped",
    ], "")),
    row("F45", "rate limited or paused", By(&[
        "f45_a_retry_after_is_obeyed_to_the_second_even_at_last_resort",
        "ten_failed_validations_of_one_name_are_enough_for_a_day",
        "each_refusal_says_whose_fault_it_is_and_when_to_ask_again",
    ], "no budget ledger of our own")),
    row("F46", "renewal information is broken", By(&[
        "f46_absurd_renewal_information_changes_nothing",
        "f46_absurd_windows_are_ignored",
        "a_refused_replaces_is_asked_again_without",
    ], "")),
    row("F47", "renewal information says: now", By(&[
        "f47_when_renewal_information_says_now_it_is_renewed_within_an_hour",
    ], "")),
    row("F48", "the CA is down for days", By(&[
        "f48_after_nine_days_without_a_ca_it_is_renewed_within_half_an_hour",
        "once_starts_a_server_although_the_ca_is_down",
    ], "no second CA takes over yet")),
    row("F49", "the account is lost", By(&[
        "f49_a_forgotten_account_is_restored_within_the_order_that_found_out",
        "f49_an_account_that_the_ca_forgot_is_registered_again_with_the_same_key",
        "f49_with_a_binding_that_is_spent_a_person_is_asked",
    ], "")),
    row("F50", "the terms change", By(&[
        "f50_changed_terms_are_told_with_their_link_and_the_pair_stays",
        "terms_are_agreed_to_only_where_they_exist_and_only_when_told",
    ], "")),
    row("F51", "the chain changes", By(&[
        "f51_a_chain_of_any_length_is_installed_whole_and_leaves_no_tail",
        "chains_of_every_algorithm_in_use_verify",
    ], "members above the leaf are verified at issuance, not watched after it")),
    row("F52", "a usage or profile vanishes", Proof::None(
        "needs beyond server authentication can't be declared yet; a profile that vanished is told as \
         `profile-refused`")),
    row("F53", "the wrong certificate is returned", By(&[
        "f53_f26_only_a_right_answer_becomes_a_generation",
        "f53_the_missing_name_is_blamed_by_name",
        "f53_broken_chains_say_which_link",
        "a_leaf_for_another_key_is_never_installed",
    ], "")),
    row("F54", "a hostile CA", By(&[
        "f54_hostile_tokens_are_refused",
        "f54_a_hostile_token_is_never_used",
        "t06_the_ca_cannot_send_us_elsewhere",
        "t07_an_answer_without_end_is_cut_off",
    ], "")),
    row("F55", "thousands are told to renew at once", By(&[
        "two_hundred_orders_at_once_share_what_there_is",
        "the_earliest_comes_first_and_a_moved_date_counts_once",
    ], "two hundred, not ten thousand; no budget across certificates")),
    row("F56", "a typing error on reload", By(&[
        "f56_no_change_to_one_table_moves_a_certificate_that_does_not_use_it",
        "f56_a_daemon_lives_through_every_configuration_it_is_given",
        "f56_one_bad_entry_isolates_itself",
        "f56_a_bad_configuration_changes_nothing_and_a_mended_one_is_taken_at_a_hangup",
    ], "")),
    row("F57", "the agent deletes too much", By(&[
        "what_left_the_configuration_is_kept_until_it_is_forgotten",
        "a_certificate_that_leaves_the_configuration_is_kept_and_not_renewed",
        "what_the_record_keeps_what_is_shown_and_unknown_newer_ones_stay",
    ], "")),
    row("F58", "certificates that nobody manages", By(&[
        "a_running_nginx_is_tied_to_its_files_and_watched_from_the_draft",
        "every_certificate_is_told_once_and_the_forsaken_first",
    ], "")),
    row("F59", "a silent alarm", By(&[
        "f59_headroom_is_of_what_clients_see",
        "what_is_wrong_reads_like_a_list_of_complaints",
        "metrics_and_health_are_served_and_the_status_file_is_for_everybody",
        "whatever_fails_nothing_is_lost_and_every_end_is_told",
        "a_channel_that_hangs_holds_up_no_other_and_hears_it_later",
    ], "")),
    row("F60", "restore, snapshot, clone", By(&[
        "f60_a_restored_state_never_brings_back_a_certificate_older_than_the_one_served",
    ], "clones are not detected")),
    row("F61", "storage that does not last", By(&[
        "volumes_that_do_not_last_are_known",
        "f06_whatever_part_of_the_state_is_lost_at_most_one_order_follows",
    ], "told by `check`; no ledger of issuances survives")),
    row("F62", "odd file systems", By(&[
        "f62_on_an_overlay_it_issues_renews_and_puts_right",
    ], "overlay and tmpfs; nothing tells of a network file system")),
];

#[rustfmt::skip]
pub const THREATS: [Row; 20] = [
    row("T01", "keys that can be read", By(&[
        "t01_modes_are_final_whatever_the_umask",
        "t01_no_key_is_ever_wider_than_its_mode",
        "t01_the_state_lies_where_nobody_else_can_look",
    ], "")),
    row("T02", "links planted in webroots and output directories", By(&[
        "t02_t20_a_race_never_leads_outside",
        "t02_a_link_planted_as_an_output_is_not_followed",
        "t02_no_step_follows_a_link_or_touches_a_linked_file",
    ], "")),
    row("T03", "a challenge token as a path", By(&[
        "t03_hostile_tokens_never_reach_the_store",
        "f54_hostile_tokens_are_refused",
    ], "")),
    row("T04", "names as paths or options", By(&[
        "t04_names_that_only_look_right_are_refused",
        "t04_no_argument_reaches_outside_its_string",
        "whatever_is_taken_is_a_safe_file_name",
    ], "")),
    row("T05", "hooks bent by remote text", By(&[
        "t05_arguments_never_meet_a_shell",
        "t05_names_from_outside_stay_data",
    ], "")),
    row("T06", "a CA that sends us elsewhere", By(&[
        "t06_the_ca_cannot_send_us_elsewhere",
        "redirects_lead_where_a_ca_would_go",
    ], "")),
    row("T07", "endless answers", By(&[
        "t07_an_answer_without_end_is_cut_off",
        "a_chain_larger_than_any_real_one_is_not_read",
    ], "")),
    row("T08", "a bad chain", By(&[
        "f53_f26_only_a_right_answer_becomes_a_generation",
        "f53_broken_chains_say_which_link",
        "sizes_are_bounded",
    ], "")),
    row("T09", "text that steers a terminal", By(&[
        "t09_no_remote_text_reaches_a_terminal_raw",
        "t09_remote_text_cannot_steer_a_terminal",
    ], "")),
    row("T10", "DNS answers", By(&[
        "t10_no_octets_make_it_panic",
        "t10_an_answer_to_another_question_is_a_strangers",
        "t10_a_name_that_points_at_itself_ends_the_reading",
    ], "DNSSEC is left to the resolvers")),
    row("T11", "listeners abused", By(&[
        "t11_half_open_connections_do_not_keep_a_ca_out",
        "t11_ten_thousand_half_open_handshakes_do_not_keep_a_ca_out",
        "t11_a_handshake_that_never_ends_is_cut_off",
        "t11_strangers_get_a_closed_connection_and_no_hint",
        "t11_a_slow_sender_is_cut_off",
    ], "")),
    row("T12", "secrets in arguments, environment, logs", By(&[
        "t12_no_key_shows_in_output_records_status_metrics_or_a_childs_proc",
        "t12_contents_are_not_printed",
    ], "cores are not searched")),
    row("T13", "DNS tokens with too many rights", By(&["t13_a_key_for_one_name_is_enough_and_reaches_no_other"], "that a key reaches further than it must is not looked for")),
    row("T14", "a control interface", By(&[
        "a_socket_is_for_owner_and_group_and_survives_a_killed_owner",
    ], "there is none beside signals and files")),
    row("T15", "from the agent to root", By(&[
        "reloads_of_listed_units_are_all_that_is_allowed",
        "t04_names_that_are_no_services_reach_nothing",
    ], "one process, not three")),
    row("T16", "the kernel's surface", By(&[
        "f20_t16_under_the_shipped_units_restrictions_it_issues_installs_reloads_and_observes",
        "t16_a_pass_fits_the_unit_s_sandbox",
        "t16_exposure_is_low_and_printed",
    ], "")),
    row("T17", "misuse of the account", By(&[
        "a_crash_between_key_and_account_loses_neither",
        "two_processes_that_register_at_once_share_one_key",
    ], "no key rollover")),
    row("T18", "updates and the build chain", Proof::None(
        "no test of the program: `tests/run` runs cargo-deny over locked dependencies")),
    row("T19", "memory safety and panics", By(&[
        "t19_a_panic_ends_one_pass_and_neither_the_daemon_nor_another_certificate",
    ], "")),
    row("T20", "races in cleaning up", By(&[
        "t02_t20_a_race_never_leads_outside",
    ], "")),
];
