//! Options of `[server]`.

use crate::read::Reader;
use crate::settings::Config;
use policy::settings::identifies;

const TITLE: &str = "[server]";

impl Reader<'_> {
    pub(super) fn check_server(&mut self, config: &Config) {
        let server = &config.server;
        if server.admin.is_none() && !server.admin_hosts.is_empty() {
            let why = "there is no admin listener";
            let help = "leave it out, or write `admin_listen` too";
            self.ineffective(TITLE, "admin_hosts", why, help);
        }
        if server.admin.is_none() && server.admin_token.is_some() {
            let why = "there is no admin listener";
            let help = "leave it out, or write `admin_listen` too";
            self.ineffective(TITLE, "admin_token_file", why, help);
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
