//! An `AcmeCa` as the tests want it, and the moves of one order.

use std::sync::Arc;

use nolapse::ca::AcmeCa;
use nolapse::core::failure::Failure;
use nolapse::core::layout::Content;
use nolapse::core::name::{IssuerId, SolverId, SubjectName};
use nolapse::core::order::{AuthorizationView, ChallengeTask, OrderRequest, OrderStatus, OrderView};
use nolapse::core::record::ChallengeKind;
use nolapse::core::spec::{Eab, IssuerSpec, SecretSource};
use nolapse::core::time::Span;
use nolapse::ports::{Ca, Secrets, Store};
use nolapse::sys::clock::Clock;

/// Looks at one order before a test gives up.
const LOOKS_MOST: usize = 400;

pub fn spec(directory: &str) -> IssuerSpec {
    IssuerSpec {
        id: IssuerId::parse("test").unwrap(),
        directory: directory.to_owned(),
        staging: None,
        contact: Vec::new(),
        accept_terms: true,
        profile: None,
        eab: None,
        ca_file: Some("root.pem".to_owned()),
        proxy: None,
        insecure_http: directory.starts_with("http:"),
        origin: nolapse::core::spec::Origin::default(),
    }
}

pub fn eab(kid: &str) -> Eab {
    Eab { kid: kid.to_owned(), hmac_key: SecretSource::Env("EAB".to_owned()) }
}

/// The one secret there is.
pub fn secrets(secret: &'static str) -> Secrets {
    Arc::new(move |_: &SecretSource| Ok(Content::new(secret.as_bytes().to_vec())))
}

pub fn client(spec: IssuerSpec, store: &Arc<impl Store + 'static>, root: Option<&str>) -> AcmeCa {
    try_client(spec, store, root).unwrap()
}

pub fn try_client(
    spec: IssuerSpec,
    store: &Arc<impl Store + 'static>,
    root: Option<&str>,
) -> Result<AcmeCa, Failure> {
    let root = root.map(|pem| Content::new(pem.as_bytes().to_vec()));
    AcmeCa::new(spec, store.clone(), Clock::wall(), secrets(super::pebble::EAB_KEY), root.as_ref())
}

pub fn request(names: &[&str]) -> OrderRequest {
    let names = names.iter().map(|name| SubjectName::parse(name).unwrap()).collect();
    OrderRequest { names, profile: None, replaces: None }
}

/// The http-01 tasks of all names that are not proven yet.
pub fn tasks(views: &[AuthorizationView]) -> Vec<ChallengeTask> {
    views
        .iter()
        .filter_map(|view| {
            let http = view.challenges.iter().find(|c| c.kind == Some(ChallengeKind::Http01))?;
            (view.status == nolapse::core::order::AuthorizationStatus::Pending).then(|| ChallengeTask {
                terms: nolapse::core::order::Terms::default(),
                solver: SolverId::parse("http").unwrap(),
                kind: ChallengeKind::Http01,
                name: view.name.clone(),
                token: http.token.clone().unwrap(),
                key_authorization: http.key_authorization.clone(),
                url: http.url.clone(),
            })
        })
        .collect()
}

/// A certificate request for these names.
pub fn csr(names: &[&str]) -> Vec<u8> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let key = rcgen::KeyPair::generate().unwrap();
    params.serialize_request(&key).unwrap().der().to_vec()
}

/// Looks until the order has this status.
pub async fn wait_for(ca: &dyn Ca, mut view: OrderView, status: OrderStatus) -> Result<OrderView, Failure> {
    let clock = Clock::wall();
    for look in 0..LOOKS_MOST {
        if view.status == status {
            return Ok(view);
        }
        assert_ne!(view.status, OrderStatus::Invalid, "{:?}", view.error);
        clock.sleep(Span::from_millis(if look < 4 { 10 } else { 50 })).await;
        view = ca.view(&view.url).await?;
    }
    panic!("the order stays {:?}", view.status);
}

/// A whole order; `present` sets an answer up.
pub async fn issue(
    ca: &dyn Ca,
    names: &[&str],
    present: impl Fn(&ChallengeTask) + Send,
) -> Result<String, Failure> {
    let mut view = ca.order(&request(names)).await?;
    if view.status == OrderStatus::Pending {
        for task in tasks(&ca.authorizations(&view.url).await?) {
            present(&task);
            ca.ready(&view.url, &task).await?;
        }
        view = wait_for(ca, view, OrderStatus::Ready).await?;
    }
    let view = ca.finalize(&view.url, &csr(names)).await?;
    let view = wait_for(ca, view, OrderStatus::Valid).await?;
    ca.download(&view.url).await
}
