//! Where the key of a certificate lies, by the habits of tools that write both.

use std::path::{Path, PathBuf};

/// Places where the key of the certificate at `path` may lie, the likeliest first.
pub fn keys(path: &Path) -> Vec<PathBuf> {
    let (Some(name), Some(dir)) = (path.file_name().and_then(|name| name.to_str()), path.parent()) else {
        return Vec::new();
    };
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
    let mut found: Vec<PathBuf> = Vec::new();
    let mut add = |place: PathBuf| {
        if place != path && !found.contains(&place) {
            found.push(place);
        }
    };
    // certbot, dehydrated, acmetool and our own: privkey beside cert and fullchain, with the same
    // number or date behind it.
    for word in ["fullchain", "cert", "combined", "chain"] {
        if let Some(rest) = name.strip_prefix(word) {
            add(dir.join(format!("privkey{rest}")));
        }
    }
    // lego, Caddy, Kubernetes and by hand.
    for key in [
        format!("{stem}.key"),
        format!("{stem}.key.pem"),
        format!("{stem}-key.pem"),
        format!("{stem}_key.pem"),
    ] {
        add(dir.join(key));
    }
    // acme.sh: NAME_ecc/fullchain.cer beside NAME_ecc/NAME.key.
    if ending == "cer"
        && let Some(above) = dir.file_name().and_then(|name| name.to_str())
    {
        add(dir.join(format!("{}.key", above.strip_suffix("_ecc").unwrap_or(above))));
    }
    // Debian and Red Hat: certs/NAME beside private/NAME.
    if dir.file_name().is_some_and(|name| name == "certs")
        && let Some(above) = dir.parent()
    {
        add(above.join("private").join(format!("{stem}.key")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_looked_for_where_tools_put_them() {
        for (certificate, key) in [
            ("/etc/letsencrypt/live/a/fullchain.pem", "/etc/letsencrypt/live/a/privkey.pem"),
            ("/etc/letsencrypt/archive/a/cert7.pem", "/etc/letsencrypt/archive/a/privkey7.pem"),
            ("/d/certs/a/fullchain-1700000000.pem", "/d/certs/a/privkey-1700000000.pem"),
            ("/var/lib/acme/live/a/fullchain", "/var/lib/acme/live/a/privkey"),
            ("/root/.lego/certificates/a.example.crt", "/root/.lego/certificates/a.example.key"),
            ("/root/.acme.sh/a.example_ecc/fullchain.cer", "/root/.acme.sh/a.example_ecc/a.example.key"),
            ("/etc/tls/tls.crt", "/etc/tls/tls.key"),
            ("/etc/ssl/certs/ssl-cert-snakeoil.pem", "/etc/ssl/private/ssl-cert-snakeoil.key"),
            ("/etc/ssl/shop.pem", "/etc/ssl/shop-key.pem"),
        ] {
            assert!(keys(Path::new(certificate)).contains(&PathBuf::from(key)), "{certificate}");
        }
        assert!(keys(Path::new("/")).is_empty());
    }
}
