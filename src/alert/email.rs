//! Messages by SMTP. Addresses, headers and the dialogue are `lettre`'s; why it is used is in
//! `docs/decisions/0031-mail-by-lettre.md`.

use lettre::message::Mailbox;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::tls;
use super::webhook::secret;
use crate::core::channel::{Email, MailTls, Message};
use crate::core::failure::{Failure, Fault, plain};
use crate::core::time::Span;
use crate::ports::{Channel, Reply, Secrets};

pub struct EmailChannel {
    spec: Email,
    timeout: Span,
    secrets: Secrets,
}

/// Characters kept of what a server said.
const SHOWN: usize = 200;

impl EmailChannel {
    pub fn new(spec: &Email, timeout: Span, secrets: &Secrets) -> Self {
        Self { spec: spec.clone(), timeout, secrets: secrets.clone() }
    }

    fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, Failure> {
        let spec = &self.spec;
        let tls = match spec.tls {
            MailTls::None => Tls::None,
            MailTls::Starttls => Tls::Required(self.trusted()?),
            MailTls::Implicit => Tls::Wrapper(self.trusted()?),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&spec.host)
            .port(spec.port)
            .tls(tls)
            .timeout(Some(self.timeout.to_std()));
        if let Some((user, source)) = &spec.login {
            let password = secret(Some(source), &self.secrets)?.unwrap_or_default();
            builder = builder
                .credentials(Credentials::new(user.clone(), password))
                .authentication(vec![Mechanism::Plain, Mechanism::Login]);
        }
        Ok(builder.build())
    }

    fn trusted(&self) -> Result<TlsParameters, Failure> {
        let mut builder = TlsParameters::builder(self.spec.host.clone());
        if let Some(path) = &self.spec.ca_file {
            builder = builder.certificate_store(CertificateStore::None);
            for der in tls::roots(path)? {
                let root = Certificate::from_der(der)
                    .map_err(|error| Failure::refused(Fault::Config, "alert-ca-file", error.to_string()))?;
                builder = builder.add_root_certificate(root);
            }
        }
        builder.build_rustls().map_err(|error| Failure::broken("alert-tls", error.to_string()))
    }

    fn letter(&self, message: &Message) -> Result<lettre::Message, Failure> {
        let address = |text: &str| {
            text.parse::<Mailbox>().map_err(|error| {
                Failure::refused(Fault::Config, "alert-address", format!("{}: {error}", plain(text, SHOWN)))
            })
        };
        let mut builder = lettre::Message::builder()
            .from(address(&self.spec.from)?)
            // A line feed in a subject could begin another header; none gets this far.
            .subject(message.title.replace(['\r', '\n'], " "))
            .date(std::time::UNIX_EPOCH + message.at.since(crate::core::time::Timestamp::EPOCH).to_std())
            .header(ContentType::TEXT_PLAIN)
            .header(AutoSubmitted)
            .header(AlertKey(message.key.clone()));
        for to in &self.spec.to {
            builder = builder.to(address(to)?);
        }
        let labels: Vec<_> =
            message.labels.iter().map(|(key, value)| format!("{key}: {}\n", plain(value, SHOWN))).collect();
        let body = format!(
            "{}\n\n{}Host: {}\nCode: {}\nSince: {}\n",
            message.text,
            labels.concat(),
            message.host,
            message.code,
            message.since
        );
        builder.body(body).map_err(|error| Failure::broken("alert-message", error.to_string()))
    }
}

impl Channel for EmailChannel {
    /// Codes: `alert-mail`, `alert-address`, `alert-ca-file`, `secret-missing`.
    fn send<'a>(&'a self, message: &'a Message) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            let letter = self.letter(message)?;
            let transport = self.transport()?;
            transport.send(letter).await.map(|_| ()).map_err(|error| {
                let mut words = error.to_string();
                let mut cause: &dyn std::error::Error = &error;
                while let Some(inner) = cause.source() {
                    cause = inner;
                    words = inner.to_string();
                }
                let place = format!("{}:{}", self.spec.host, self.spec.port);
                let words = format!("{place} did not take the mail: {}", plain(&words, SHOWN));
                Failure::transient(Fault::Network, "alert-mail", words)
            })
        })
    }
}

/// RFC 3834: nobody's vacation program shall answer.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

#[derive(Clone)]
struct AlertKey(String);

impl Header for AlertKey {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("X-Nolapse-Key")
    }

    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(text.to_owned()))
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), self.0.clone())
    }
}
