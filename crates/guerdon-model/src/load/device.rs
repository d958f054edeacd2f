//! Devices: a CPU, a GPU, or several GPUs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A device: `cpu`, `cuda` (the first GPU) or `cuda:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU, by its number.
    Cuda(u16),
}

/// A text that names no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a device; write \"cpu\", \"cuda\", \"cuda:1\" or \"cuda:0,1\"")]
pub struct UnknownDevice(String);

impl FromStr for Device {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, UnknownDevice> {
        let unknown = || UnknownDevice(text.to_owned());
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let number = text.strip_prefix("cuda:").ok_or_else(unknown)?;
                number.parse().map(Self::Cuda).map_err(|_| unknown())
            }
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

/// A CPU or GPUs, such as `cpu`, `cuda`, `cuda:1` or `cuda:0,1`: at least one, and none twice.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Devices {
    first: Device,
    all: Vec<Device>,
}

impl Devices {
    /// The first device. Trials run on it alone, since the GPUs of one model are taken to be alike.
    #[must_use]
    pub const fn first(&self) -> Device {
        self.first
    }

    /// All devices, in order.
    #[must_use]
    pub fn all(&self) -> &[Device] {
        &self.all
    }
}

impl Default for Devices {
    fn default() -> Self {
        Device::default().into()
    }
}

impl From<Device> for Devices {
    fn from(first: Device) -> Self {
        Self { first, all: vec![first] }
    }
}

impl FromStr for Devices {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, UnknownDevice> {
        let unknown = || UnknownDevice(text.to_owned());
        let (first, others) =
            text.split_once(',').map_or((text, None), |(first, others)| (first, Some(others)));
        let mut devices = Self::from(first.parse::<Device>().map_err(|_| unknown())?);
        for number in others.into_iter().flat_map(|others| others.split(',')) {
            let device = Device::Cuda(number.trim().parse().map_err(|_| unknown())?);
            if devices.first == Device::Cpu || devices.all.contains(&device) {
                return Err(unknown());
            }
            devices.all.push(device);
        }
        Ok(devices)
    }
}

impl TryFrom<String> for Devices {
    type Error = UnknownDevice;

    fn try_from(text: String) -> Result<Self, UnknownDevice> {
        text.parse()
    }
}

impl From<Devices> for String {
    fn from(devices: Devices) -> Self {
        devices.to_string()
    }
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        for device in self.all.iter().skip(1) {
            match device {
                Device::Cpu => f.write_str(",cpu")?,
                Device::Cuda(number) => write!(f, ",{number}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_lists_round_trip_as_text() {
        for (text, devices) in [
            ("cpu", vec![Device::Cpu]),
            ("cuda:3", vec![Device::Cuda(3)]),
            ("cuda:0,1", vec![Device::Cuda(0), Device::Cuda(1)]),
            ("cuda:2,0,7", vec![Device::Cuda(2), Device::Cuda(0), Device::Cuda(7)]),
        ] {
            let read: Devices = text.parse().unwrap();
            assert_eq!(
                (read.all(), read.first(), read.to_string()),
                (&*devices, devices[0], text.to_owned())
            );
        }
        assert_eq!("cuda".parse::<Devices>().unwrap().all(), [Device::Cuda(0)]);
    }

    #[test]
    fn unknown_device_is_refused_with_the_known_forms() {
        for text in ["gpu", "cuda:", "cuda:-1", "CPU", "cpu,1", "cuda:0,0", "cuda:0,", "cuda:0,cpu"]
        {
            let error = text.parse::<Devices>().unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("\"cuda:0,1\""), "{error}");
        }
    }
}
