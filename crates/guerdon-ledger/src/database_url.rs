//! The URL of a database.

use serde::{Deserialize, Serialize};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::Error;

/// The URL of a database. It is shown without its password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// The URL with its password.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The settings that the URL has.
    pub(crate) fn settings(&self) -> Result<Config, Error> {
        if !self.0.starts_with("postgres://") && !self.0.starts_with("postgresql://") {
            return Err(Error::Scheme);
        }
        let config: Config = self.0.parse().map_err(Error::Url)?;
        match config.get_ssl_mode() {
            SslMode::Require => Err(Error::Tls),
            _ => Ok(config),
        }
    }

    /// The URL without its user, password and parameters; without hosts, too, if it is damaged.
    #[must_use]
    pub fn shown(&self) -> String {
        let Ok(config) = self.0.parse::<Config>() else {
            return "postgres://".to_owned();
        };
        let ports = config.get_ports();
        let hosts = config.get_hosts().iter().enumerate().map(|(place, host)| {
            let port = ports.get(place).or_else(|| ports.first());
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            match host {
                Host::Tcp(name) => format!("{name}{port}"),
                #[cfg(unix)]
                Host::Unix(folder) => format!("{}{port}", folder.display()),
            }
        });
        let hosts = hosts.collect::<Vec<_>>().join(",");
        format!("postgres://{hosts}/{}", config.get_dbname().unwrap_or_default())
    }
}

impl From<String> for DatabaseUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_never_shown() {
        for (url, shown) in [
            ("postgres://u:s3cret@h:5432/d?application_name=s3cret", "postgres://h:5432/d"),
            ("postgresql://u:s3?cret@h,i/d", "postgres://h:5432,i:5432/d"),
            ("postgres://u@%2Frun%2Fdb/d?password=s3cret", "postgres:///run/db:5432/d"),
            ("host=h password=s3cret", "postgres://h/"),
            ("postgres://u:s3cret@h:s3cret", "postgres://"),
            ("s3cret", "postgres://"),
        ] {
            let url = DatabaseUrl::from(url.to_owned());
            assert_eq!((format!("{url:?}").as_str(), url.shown().as_str()), (shown, shown));
            assert_eq!(serde_json::to_value(&url).unwrap(), shown);
        }
    }
}
