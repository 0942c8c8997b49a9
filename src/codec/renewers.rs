//! Which tool keeps a certificate, told from where it lies and what lies beside it.

use std::path::Path;

/// What would show that a tool renews a file: one that must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    pub tool: &'static str,
    pub evidence: String,
}

/// Every tool that may keep the certificate at `path`, the likeliest first. The caller sees which
/// evidence is there.
pub fn traces(path: &Path) -> Vec<Trace> {
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    let (Some(name), Some(dir)) = (path.file_name().and_then(|name| name.to_str()), path.parent()) else {
        return Vec::new();
    };
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let mut found = Vec::new();
    let mut trace = |tool, evidence: String| found.push(Trace { tool, evidence });
    let dir = dir.display();
    // ROOT/live/NAME/x and ROOT/archive/NAME/x.
    if let [root @ .., "live" | "archive", lineage, _] = &parts[..] {
        let root = root.join("/").replacen("//", "/", 1);
        trace("certbot", format!("{root}/renewal/{lineage}.conf"));
        trace("acmetool", format!("{root}/desired/{lineage}"));
    }
    if parts.contains(&"certificates") {
        // Caddy: certificates/CA/NAME/NAME.crt beside NAME.json; lego: certificates/NAME.crt likewise.
        let tool = if parts.iter().rev().nth(3) == Some(&"certificates") { "caddy" } else { "lego" };
        trace(tool, format!("{dir}/{stem}.json"));
        let domain = stem.strip_suffix(".issuer").unwrap_or(stem);
        trace(tool, format!("{dir}/{domain}.json"));
    }
    if let [.., lineage, _] = &parts[..] {
        let domain = lineage.strip_suffix("_ecc").unwrap_or(lineage);
        trace("acme.sh", format!("{dir}/{domain}.conf"));
    }
    if let [root @ .., "certs", _, _] = &parts[..] {
        let root = root.join("/").replacen("//", "/", 1);
        trace("dehydrated", format!("{root}/domains.txt"));
        trace("dehydrated", format!("{root}/accounts"));
        trace("dehydrated", "/etc/dehydrated/domains.txt".to_owned());
    }
    // A mounted secret: its files are links into a dated directory.
    trace("kubernetes", format!("{dir}/..data"));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_told_by_what_they_leave_beside_a_certificate() {
        for (path, tool, evidence) in [
            ("/etc/letsencrypt/live/a/fullchain.pem", "certbot", "/etc/letsencrypt/renewal/a.conf"),
            ("/etc/letsencrypt/archive/a/fullchain3.pem", "certbot", "/etc/letsencrypt/renewal/a.conf"),
            ("/var/lib/acme/live/a.example/fullchain", "acmetool", "/var/lib/acme/desired/a.example"),
            ("/root/.lego/certificates/a.example.crt", "lego", "/root/.lego/certificates/a.example.json"),
            (
                "/var/lib/caddy/.local/share/caddy/certificates/acme-v02/a.example/a.example.crt",
                "caddy",
                "/var/lib/caddy/.local/share/caddy/certificates/acme-v02/a.example/a.example.json",
            ),
            (
                "/root/.acme.sh/a.example_ecc/fullchain.cer",
                "acme.sh",
                "/root/.acme.sh/a.example_ecc/a.example.conf",
            ),
            ("/var/lib/dehydrated/certs/a/fullchain.pem", "dehydrated", "/var/lib/dehydrated/accounts"),
            ("/etc/tls/tls.crt", "kubernetes", "/etc/tls/..data"),
        ] {
            let wanted = Trace { tool, evidence: evidence.to_owned() };
            assert!(traces(Path::new(path)).contains(&wanted), "{path}: {:?}", traces(Path::new(path)));
        }
    }
}
