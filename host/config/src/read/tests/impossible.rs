//! What can be read and could not work: one mistake each.

use super::*;

#[test]
fn references_that_lead_nowhere_are_reported() {
    mistake(
        "on_connect = [\"auth\"]",
        "on_connect = [\"auht\"]",
        "no policy called \"auht\"",
        "did you mean \"auth\"?",
    );
    mistake(
        "on_handshake = [\"rate\"]",
        "on_handshake = [\"bitrate-limit\"]",
        "no policy called \"bitrate-limit\"",
        "add a section [policies.bitrate-limit]",
    );
    mistake(
        "upstream = \"sink\"",
        "upstream = \"sinc\"",
        "no upstream called \"sinc\"",
        "did you mean \"sink\"?",
    );
}

#[test]
fn an_origin_or_a_subprotocol_that_can_never_match_is_refused() {
    let with = |line: &str| {
        broken(
            "upstream = \"sink\"",
            &format!("upstream = \"sink\"\n{line}"),
        )
    };
    for (origin, why) in [
        ("app.example.com", "it has no scheme"),
        ("https://app.example.com/", "slash or a path"),
        ("https://m\u{fc}ller.example", "xn--"),
        ("https://app.example.com:99999", "host or port"),
        ("https://*", "a star stands for whole labels"),
    ] {
        let report = report(&with(&format!("origins = [\"{origin}\"]")));
        assert!(report.contains("is not an origin"), "{report}");
        assert!(report.contains(why), "{report}");
    }
    good(&with(
        "origins = [\"*\", \"null\", \"file://\", \"https://*.example.com\", \"https://a.example:443\"]",
    ));
    for (name, why) in [
        ("a b", "is not the name of a subprotocol"),
        ("sluice.bearer.x", "would be taken for a token"),
    ] {
        let report = report(&with(&format!("subprotocols = [\"{name}\"]")));
        assert!(report.contains(why), "{report}");
    }
}

#[test]
fn paths_that_nobody_can_mean_are_refused() {
    for (path, message) in [
        ("ws", "does not start with a slash"),
        ("/ws?source=mic", "is more than a path"),
        ("/ws/{meeting id}", "has white space"),
        ("/ws/{*rest}", "a parameter for many segments"),
        ("/ws/{{meeting_id}}", "a brace too many"),
        ("/ws/{}", "is not the name of a parameter"),
        ("/ws/{meeting-id}", "is not the name of a parameter"),
        ("/ws/{id", "is not a path"),
        ("/ws/id}", "is not a path"),
        ("/ws/{id}x}", "is not a path"),
        ("/ws/{a}{b}", "is not a path"),
        ("/ws/{id}/{id}", "two parameters called `id`"),
        ("/ws/../{meeting_id}", "no client can request the path"),
        ("/ws/%2E/{meeting_id}", "no client can request the path"),
    ] {
        mistake("/ws/{meeting_id}", path, message, "help:");
    }
    mistake(
        "[\"/ws/{meeting_id}\"]",
        "[]",
        "has no paths",
        "write `paths = [",
    );
    mistake(
        "paths = [\"/ws/{meeting_id}\"]",
        "",
        "has no paths",
        "write `paths = [",
    );
}

#[test]
fn of_two_routes_for_one_path_the_later_is_the_mistake() {
    let other = "\n[routes.a-later-one]\npaths = [\"/ws/{id}\"]\nupstream = \"sink\"\n";
    let report = report(&format!("{GOOD}{other}"));
    assert!(
        report.contains("\"/ws/{id}\" matches the same requests as \"/ws/{meeting_id}\""),
        "{report}"
    );
    assert!(report.contains("taken by [routes.ingest]"), "{report}");
}

#[test]
fn two_spellings_of_one_path_are_one_path() {
    let other = "\n[routes.other]\npaths = [\"/toplant%c4%b1/{id}\"]\nupstream = \"sink\"\n";
    let text = broken("/ws/{meeting_id}", "/toplantı/{meeting_id}");
    good(&text);
    let report = report(&format!("{text}{other}"));
    assert!(
        report.contains("matches the same requests as \"/toplantı/{meeting_id}\""),
        "{report}"
    );
}

#[test]
fn every_name_in_every_list_of_a_route_leads_somewhere() {
    for list in ["on_connect", "on_handshake", "on_frames", "on_close"] {
        let text = broken("on_connect = [\"auth\"]\non_handshake = [\"rate\"]", "").replace(
            "upstream = \"sink\"",
            &format!("upstream = \"sink\"\n{list} = [\"auht\"]"),
        );
        let report = report(&text);
        assert!(report.contains("no policy called \"auht\""), "{report}");
        let (config, _) = load(&text).unwrap();
        let route = &config.routes["ingest"];
        let named = [
            &route.on_connect,
            &route.on_handshake,
            &route.on_frames,
            &route.on_close,
        ];
        assert!(named.into_iter().all(Vec::is_empty), "{list}: {route:?}");
    }
    for (key, message) in [
        (
            "param.meeting",
            "no client has \"param.meeting\" on this route",
        ),
        ("header.a b", "no client has \"header.a b\" on this route"),
        ("cookie.a", "\"cookie.a\" does not distinguish clients"),
    ] {
        in_route(
            &format!("rate_attempts = 1\nrate_key = [\"{key}\"]"),
            message,
            "help:",
        );
    }
    in_route("rate_attempts = 0", "`rate_attempts`", "help:");
}

#[test]
fn listeners_that_cannot_be_had_together_are_refused() {
    for (server, message) in [
        (
            "listen = [\"0.0.0.0:8080\", \"127.0.0.1:8080\"]",
            "`listen` cannot have 127.0.0.1:8080 beside 0.0.0.0:8080",
        ),
        (
            "listen = \"0.0.0.0:8080\"\nadmin_listen = \"127.0.0.1:8080\"",
            "`admin_listen` conflicts with `listen`, 0.0.0.0:8080",
        ),
        (
            "listen = \"[::1]:8080\"\nadmin_listen = \"[::1]:8080\"",
            "`admin_listen` conflicts with `listen`, [::1]:8080",
        ),
        (
            "listen = \"127.0.0.1:8080\"\nprobe_listen = \"0.0.0.0:8080\"",
            "`probe_listen` conflicts with `listen`, 127.0.0.1:8080",
        ),
        (
            "admin_listen = \"127.0.0.1:9180\"\nprobe_listen = \"0.0.0.0:9180\"",
            "`probe_listen` conflicts with `admin_listen`, 127.0.0.1:9180",
        ),
    ] {
        let report = report(&format!("{GOOD}\n[server]\n{server}\n"));
        assert!(report.contains(message), "{report}");
        assert!(report.contains("1 mistake in"), "{report}");
    }
    for server in [
        "listen = [\"0.0.0.0:8080\", \"[::]:8080\"]",
        "listen = [\"10.0.0.1:8080\", \"10.0.0.2:8080\"]\nadmin_listen = \"127.0.0.1:8080\"",
        "listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\nadmin_listen = \"127.0.0.1:0\"",
    ] {
        good(&format!("{GOOD}\n[server]\n{server}\n"));
    }
}

#[test]
fn policies_that_could_never_work_are_refused() {
    in_policy(
        "on_failure = \"open\"",
        "it cannot fail open",
        "write \"closed\"",
    );
    in_policy(
        "on_failure = \"opne\"",
        "`on_failure` does not know \"opne\"",
        "did you mean \"open\"?",
    );
    mistake(
        "[\"jwt\"]",
        "[\"jwt\", \"files\"]",
        "`grants` does not know \"files\"",
        "it knows: \"jwt\", \"sessions\", \"counters\", \"payload\", \"lists\", \"destinations\", \"notice\", \"metrics\", \"credentials\"",
    );
    mistake(
        "\"builtin:auth\"",
        "\"builtin:auht\"",
        "no built-in policy \"auht\"",
        "did you mean \"builtin:auth\"?",
    );
    mistake(
        "\"builtin:auth\"",
        "\"auth\"",
        "no component at /etc/sluice/auth",
        "did you mean \"builtin:auth\"?",
    );
    mistake(
        "\"builtin:auth\"",
        "\"mine.wasm\"",
        "no component at /etc/sluice/mine.wasm",
        "relative to this configuration file",
    );
    mistake(
        "\"builtin:sample-rate\"",
        "\"https://example.com/mine.wasm\"",
        "not by this protocol",
        "write oci://HOST/REPOSITORY@sha256:DIGEST",
    );
    mistake(
        "\"builtin:sample-rate\"",
        "\"oci://registry.example.com/mine:1.0\"",
        "needs the digest of its manifest",
        "write oci://HOST/REPOSITORY@sha256:DIGEST",
    );
    mistake(
        "component = \"builtin:auth\"",
        "",
        "[policies.auth] has no `component`",
        "write `component = ",
    );
    mistake(
        "\"main\" }",
        "\"main\", limit = inf }",
        "inf cannot be given to a policy",
        "finite numbers",
    );
}

#[test]
fn routes_that_could_never_work_are_refused() {
    in_route(
        "handshake = \"none\"",
        "its `on_handshake` policies would never be called",
        "move the policies to `on_connect`",
    );
    in_route(
        "handshake = \"ingest.v2\"",
        "`handshake` does not know \"ingest.v2\"",
        "did you mean \"ingest.v1\"?",
    );
    in_route(
        "token_expiry = \"never\"",
        "`token_expiry` does not know \"never\"",
        "\"close\", \"ignore\"",
    );
    mistake(
        "[\"auth\"]",
        "[\"auth\", \"auth\"]",
        "`on_connect` names \"auth\" twice",
        "keep one",
    );
    mistake(
        "upstream = \"sink\"",
        "",
        "[routes.ingest] has no `upstream`",
        "[upstreams.NAME]",
    );
    mistake(
        "kind = \"discard\"",
        "",
        "[upstreams.sink] has no `kind`",
        "write `kind = ",
    );
    mistake(
        "kind = \"discard\"",
        "kind = \"discard\"\nfolder = \"x\"",
        "`folder` is for upstreams of the kind \"wav\"",
        "write `kind = \"wav\"`",
    );
    let nothing = report("");
    assert!(nothing.contains("there are no routes"), "{nothing}");
}

#[test]
fn a_backend_that_could_never_be_spoken_to_is_refused() {
    #[track_caller]
    fn backend(options: &str, message: &str, help: &str) {
        let options = format!("kind = \"websocket\"\n{options}");
        mistake("kind = \"discard\"", &options, message, help);
    }
    let url = |path: &str| format!("url = \"ws://h/{path}\"");
    let and = |option: &str| format!("url = \"ws://h/x\"\n{option}");
    backend(
        "",
        "[upstreams.sink] has no `url`",
        "write the backend's address",
    );
    backend(
        "url = \"http://h/\"",
        "begins with neither ws:// nor wss://",
        "write ws:// or wss://",
    );
    backend(
        &url("{query.token}"),
        "would put a secret into a URL",
        "{auth.user_id}",
    );
    backend(
        &url("{param.meeting}"),
        "[upstreams.sink] needs the path parameter `meeting`, and [routes.ingest] has a path without it",
        "name a parameter that \"/ws/{meeting_id}\" has",
    );
    backend(
        &url("{sso.user}"),
        "[upstreams.sink] needs `sso.user`, and in [routes.ingest] no policy \"sso\" is asked before it",
        "put \"sso\" into the route's `on_connect`",
    );
    // A policy that is granted no `jwt` cannot know who a client is.
    backend(
        &and("user = \"rate.user_id\""),
        "[upstreams.sink] would tell who a client is by `rate.user_id`, and policy \"rate\" does not",
        "a policy that is granted `jwt` in `user`",
    );
    backend(
        &and("user = \"auht.user_id\""),
        "[upstreams.sink] never tells the `user`: no route to it asks a policy \"auht\"",
        "\"auth.user_id\"",
    );
    backend(
        &and("attributes = [\"email\"]"),
        "\"email\" is not the name of an attribute",
        "\"auth.email\"",
    );
    backend(
        &and("attributes = [\"auth.user_id\", \"auth.user-id\"]"),
        "would be one header",
        "leave one of the two out",
    );
    for header in [
        "Cookie",
        "host",
        "X-Sluice-User",
        "Sec-WebSocket-Key",
        "a b",
    ] {
        backend(
            &and(&format!("forward_headers = [\"{header}\"]")),
            &format!("the header \"{header}\" cannot be forwarded"),
            "leave it out",
        );
    }
    backend(
        &and("ca_file = \"ca.pem\""),
        "`ca_file` is for wss://",
        "write wss:// in `url`",
    );
    backend(
        "url = \"wss://h/x\"\nca_file = \"none.pem\"",
        "the backend's certificate cannot be verified",
        "write `ca_file`",
    );
}

#[test]
fn a_stream_is_held_only_where_it_is_said_what_becomes_of_its_audio() {
    #[track_caller]
    fn backend(options: &str, message: &str, help: &str) {
        let options = format!("kind = \"websocket\"\nurl = \"ws://h/x\"\n{options}");
        mistake("kind = \"discard\"", &options, message, help);
    }
    backend(
        "on_loss = \"hold\"",
        "`replay` is missing, and this backend does not confirm what it has",
        "`replay = \"at-least-once\"`",
    );
    backend(
        "on_loss = \"hold\"\nreceipts = \"confirmed\"\nreplay = \"at-most-once\"",
        "`replay` is for backends that confirm nothing",
        "leave it out",
    );
    for option in ["hold_file", "hold_files"] {
        backend(
            &format!("{option} = \"1MiB\""),
            &format!("`{option}` is for streams that are held"),
            "write `on_loss = \"hold\"`",
        );
    }
    backend(
        "min_free = \"1GiB\"",
        "`min_free` is for streams that are recorded or held",
        "write `tee = \"wav\"` or `on_loss = \"hold\"`",
    );
    backend(
        "receipts = \"recorded\"",
        "`receipts` promises a recording, but nothing is recorded",
        "write `tee = \"wav\"` as well",
    );
    for option in ["folder", "path", "keep_for", "keep_total"] {
        backend(
            &format!("{option} = \"calls\""),
            &format!("`{option}` is for streams that are recorded"),
            "write `tee = \"wav\"`",
        );
    }
    let plain = broken(
        "kind = \"discard\"",
        "kind = \"websocket\"\nurl = \"ws://h/x\"\ntee = \"wav\"",
    );
    good(&plain);
    let plain = report(&plain.replace("on_handshake = [\"rate\"]", "handshake = \"none\""));
    assert!(
        plain.contains("those of [routes.ingest] have no handshake"),
        "{plain}"
    );
}

#[test]
fn folders_of_recordings_that_cannot_be_are_refused() {
    let tee = "kind = \"websocket\"\nurl = \"ws://h/x\"\ntee = \"wav\"";
    for kind in ["kind = \"wav\"", tee] {
        for (path, message, help) in [
            (
                "{tennant}/{date}",
                "`path` has a mistake: there is no placeholder {tennant}",
                "did you mean {tenant}? there are {tenant}, {user}, {date}, {meeting}, {route}, \
                 {source}, {session}, {param.NAME} of the route's path, {query.NAME} and \
                 {POLICY.NAME}, which a policy left",
            ),
            (
                "{meeting_id}",
                "there is no placeholder {meeting_id}",
                "did you mean {meeting}?",
            ),
            (
                "../{tenant}",
                "\"..\" leads to another folder",
                "folders below `folder`",
            ),
            (
                "/calls/{tenant}",
                "it is an absolute path",
                "folders below `folder`",
            ),
            (
                "{tenant}//{date}",
                "a folder in it has no name",
                "folders below `folder`",
            ),
            (
                "{tenant}-{user}",
                "has other text beside its placeholder",
                "a folder of its own",
            ),
            (
                ".calls/{tenant}",
                "\".calls\" cannot be the name of a folder",
                "write up to 120",
            ),
            (
                "{tenant",
                "the braces of \"{tenant\" do not match",
                "write a placeholder as",
            ),
            (
                "{query.token}",
                "{query.token} would put a secret",
                "leave it out",
            ),
            (
                "{param.room}",
                "[upstreams.sink] needs the path parameter `room`, and [routes.ingest] has a path \
                 without it",
                "put {room} into it",
            ),
            (
                "{guard.x}",
                "no policy \"guard\" is asked before it",
                "put \"guard\"",
            ),
        ] {
            let with = format!("{kind}\npath = \"{path}\"");
            mistake("kind = \"discard\"", &with, message, help);
        }
        good(&broken(
            "kind = \"discard\"",
            &format!("{kind}\npath = \"calls/{{tenant}}/{{param.meeting_id}}\""),
        ));
    }
    // The picture points at the part that is wrong.
    let pointing = "kind = \"wav\"\npath = \"calls/{tennant}/{date}\"";
    let picture = report(&broken("kind = \"discard\"", pointing));
    let lines: Vec<&str> = picture.lines().collect();
    let line = lines
        .iter()
        .position(|line| line.contains("{tennant}/{date}\""))
        .unwrap();
    let at = lines[line].find("{tennant}").unwrap();
    assert_eq!(lines[line + 1][at..].trim(), "^^^^|^^^^", "{picture}");
}

#[test]
fn upstreams_that_share_a_folder_must_get_on() {
    let two = |one: &str, other: &str| {
        let first = broken("kind = \"discard\"", &format!("kind = \"wav\"\n{one}"));
        let second = "[upstreams.more]\nkind = \"websocket\"\nurl = \"ws://h/x\"\ntee = \"wav\"";
        format!("{first}\n{second}\n{other}\n")
    };
    let path = "path = \"{meeting}\"";
    let keep = "keep_for = \"90d\"";
    for (one, other, message) in [
        (path, "", "record in one folder, each with another `path`"),
        (
            path,
            "folder = \"./recordings/\"",
            "each with another `path`",
        ),
        (keep, "", "keep their recordings differently"),
        (
            "keep_total = \"1GiB\"",
            "folder = \"recordings/more\"",
            "keep their recordings differently",
        ),
        (keep, "folder = \".\"", "keep their recordings differently"),
    ] {
        let report = report(&two(one, other));
        let flat = report.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(message), "{report}");
        assert!(
            flat.contains("[upstreams.more] and [upstreams.sink]"),
            "{report}"
        );
    }
    for (one, other) in [
        ("", ""),
        (path, path),
        (keep, keep),
        (keep, "folder = \"elsewhere\""),
        (keep, "folder = \"recordings-more\""),
        (path, "folder = \"recordings/more\""),
    ] {
        good(&two(one, other));
    }
}

#[test]
fn recordings_may_be_kept_for_many_years_and_no_bound_is_no_bound() {
    let bounds = |options: &str| {
        let options = format!("kind = \"wav\"\n{options}");
        let config = good(&broken("kind = \"discard\"", &options));
        config.upstreams["sink"].recordings().unwrap().bounds
    };
    let kept = bounds("keep_for = \"10years\"\nkeep_total = \"500GiB\"");
    assert_eq!(kept.age.unwrap().as_secs() / 86_400, 3652);
    assert_eq!(kept.total, Some(500 << 30));
    for none in ["", "keep_for = \"0s\"\nkeep_total = \"0B\""] {
        assert!(bounds(none).keep_all());
    }
    mistake(
        "kind = \"discard\"",
        "kind = \"wav\"\nkeep_for = 90",
        "`keep_for` needs a unit",
        "write \"90h\" or \"90d\"",
    );
    mistake(
        "kind = \"discard\"",
        "kind = \"wav\"\nkeep_total = \"500G\"",
        "`keep_total` cannot be read as a size",
        "such as",
    );
}

#[test]
fn a_recording_needs_to_be_told_what_is_in_it() {
    let plain = broken("kind = \"discard\"", "kind = \"wav\"");
    good(&plain);
    let told = report(&plain.replace("on_handshake = [\"rate\"]", "handshake = \"none\""));
    assert!(
        told.contains("records streams, and those of [routes.ingest] have no handshake")
            && told.contains("give it another upstream"),
        "{told}"
    );
}

#[test]
fn who_a_client_is_is_not_told_by_a_policy_in_whose_name_another_may_speak() {
    let trial = "\n[policies.next]\ncomponent = \"builtin:rate\"\nshadow_of = \"auth\"\n"
        .replace("builtin:rate", "builtin:sample-rate");
    let relayed = broken(
        "kind = \"discard\"",
        "kind = \"websocket\"\nurl = \"ws://h/x\"",
    );
    good(&relayed);
    let report = report(&format!("{relayed}{trial}"));
    for option in ["`auth.user_id`", "`auth.tenant_id`"] {
        assert!(report.contains(option), "{report}");
    }
    assert!(report.contains("sluice.toml:"), "{report}");
    let granted = trial.replace("shadow_of", "grants = [\"jwt\"]\nshadow_of");
    good(&format!("{relayed}{granted}"));
}

#[test]
fn clients_are_not_told_apart_by_what_is_never_looked_at() {
    for part in [
        "query.token",
        "query.Resume",
        "header.cookie",
        "header.X-Sluice-Resume",
    ] {
        mistake(
            "upstream = \"sink\"",
            &format!("upstream = \"sink\"\nrate_attempts = 5\nrate_key = [\"{part}\"]"),
            &format!("\"{part}\" is a credential"),
            "that is not a credential",
        );
    }
}
