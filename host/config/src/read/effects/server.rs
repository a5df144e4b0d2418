//! Options of `[server]`.

use crate::read::Reader;
use crate::settings::Config;
use policy::settings::identifies;

const TITLE: &str = "[server]";

impl Reader<'_> {
    pub(super) fn check_server(&mut self, config: &Config) {
        let server = &config.server;
        let admin = &server.admin;
        let no_admin = "there is no admin listener";
        let help = "leave it out, or write `admin_listen` too";
        if admin.listen.is_none() && admin.probe.is_none() && !admin.hosts.is_empty() {
            self.ineffective(TITLE, "admin_hosts", no_admin, help);
        }
        if admin.listen.is_none() {
            for (is_set, keys) in [
                (admin.tls.is_some(), &["admin_tls_certificate"][..]),
                (
                    admin.tokens.operate.is_some(),
                    &["admin_token_file", "admin_token_env"],
                ),
                (
                    admin.tokens.read.is_some(),
                    &["admin_read_token_file", "admin_read_token_env"],
                ),
            ] {
                for key in keys.iter().filter(|_| is_set) {
                    self.ineffective(TITLE, key, no_admin, help);
                }
            }
        }
        let shares = &server.shares;
        let connections = ("max_connections", server.max_connections);
        let parked = ("max_parked", server.max_parked);
        for (key, of_one, (of, all)) in [
            (
                "max_connections_per_address",
                shares.per_address,
                connections,
            ),
            ("max_connections_per_user", shares.per_user, connections),
            ("max_connections_per_tenant", shares.per_tenant, connections),
            ("max_parked_per_client", shares.parked_per_client, parked),
        ] {
            let usual = key == "max_parked_per_client" && of_one == Some(100);
            if of_one.is_some_and(|of_one| of_one >= all) && !usual {
                let why = format!("all clients together have {all} (`{of}`)");
                let help = format!("write less, or raise `{of}`");
                self.ineffective(TITLE, key, &why, &help);
            }
        }
        let mut routes = config.routes.values();
        let knows_clients = routes.any(|route| {
            let mut asked = route.admission();
            asked.any(|policy| identifies(&config.policies, policy))
        });
        if !knows_clients {
            let why =
                "no route has a policy that verifies tokens, so users and tenants are unknown";
            let help = "leave it out, or name a policy that is granted `jwt`";
            for (key, bound) in [
                ("max_connections_per_user", shares.per_user),
                ("max_connections_per_tenant", shares.per_tenant),
            ] {
                if bound.is_some() {
                    self.ineffective(TITLE, key, why, help);
                }
            }
        }
    }
}
