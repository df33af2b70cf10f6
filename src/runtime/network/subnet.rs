//! Address blocks in prefix notation, of either family, and the arithmetic that address management needs.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Which Internet protocol an address belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Version 4.
    V4,
    /// Version 6.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() {
            Self::V4
        } else {
            Self::V6
        }
    }

    /// `IPv4` or `IPv6`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// How many bits an address has.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

/// A block of addresses: `172.18.0.0/16`, `fd00::/64`. The host bits are always zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subnet {
    base: IpAddr,
    prefix: u8,
}

/// A text that is no address block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid subnet {0}: invalid CIDR block notation")]
pub struct NotASubnet(pub String);

impl Subnet {
    /// The block of this length that holds an address.
    #[must_use]
    pub fn around(address: IpAddr, prefix: u8) -> Self {
        let prefix = prefix.min(Family::of(address).bits());
        let base = number(address) & !host_mask(Family::of(address), prefix);
        Self {
            base: address_of(Family::of(address), base),
            prefix,
        }
    }

    /// The first address, which names the block.
    #[must_use]
    pub fn base(&self) -> IpAddr {
        self.base
    }

    /// The length of the fixed part in bits.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The family of its addresses.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.base)
    }

    /// The last address: the broadcast address of an IPv4 block.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        let family = self.family();
        address_of(family, number(self.base) | host_mask(family, self.prefix))
    }

    /// The address after the last, unless the block reaches the end of all addresses.
    #[must_use]
    pub fn following(&self) -> Option<IpAddr> {
        let next = number(self.last()).checked_add(1)?;
        let fits = self.family() == Family::V6 || next <= u128::from(u32::MAX);
        fits.then(|| address_of(self.family(), next))
    }

    /// The address at a distance from the first, where the block is large enough.
    #[must_use]
    pub fn nth(&self, distance: u128) -> Option<IpAddr> {
        let family = self.family();
        (distance <= host_mask(family, self.prefix))
            .then(|| address_of(family, number(self.base) + distance))
    }

    /// Whether an address lies in the block.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        Self::around(address, self.prefix) == *self
    }

    /// Whether two blocks share an address.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.family() == other.family() && (self.contains(other.base) || other.contains(self.base))
    }

    /// Whether an address can be given to an interface: inside, and neither the block's own name nor its broadcast.
    #[must_use]
    pub fn is_usable(&self, address: IpAddr) -> bool {
        let narrow = self.family().bits() - self.prefix <= 1;
        self.contains(address)
            && (narrow
                || (address != self.base
                    && (self.family() == Family::V6 || address != self.last())))
    }

    /// The blocks of a longer prefix that this one is made of.
    pub fn split(self, prefix: u8) -> impl Iterator<Item = Self> {
        let family = self.family();
        let step = host_mask(family, prefix) + 1;
        let count = 1u128 << (prefix - self.prefix).min(64);
        (0..count).map(move |index| Self {
            base: address_of(family, number(self.base) + index * step),
            prefix,
        })
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = NotASubnet;

    fn from_str(text: &str) -> Result<Self, NotASubnet> {
        let wrong = || NotASubnet(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        if prefix > Family::of(address).bits() {
            return Err(wrong());
        }
        Ok(Self::around(address, prefix))
    }
}

impl serde::Serialize for Subnet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Subnet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

fn address_of(family: Family, number: u128) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX))),
        Family::V6 => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

fn host_mask(family: Family, prefix: u8) -> u128 {
    let free = family.bits() - prefix;
    if free == 128 {
        u128::MAX
    } else {
        (1u128 << free) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn host_bits_are_dropped() -> TestResult {
        assert_eq!("10.1.2.3/8".parse::<Subnet>()?.to_string(), "10.0.0.0/8");
        assert_eq!("fd00::9/64".parse::<Subnet>()?.to_string(), "fd00::/64");
        Ok(())
    }

    #[test]
    fn refuses_what_is_no_block() {
        for text in ["10.1.2.0/99", "10.1.2.0", "x/8", "::/129"] {
            assert!(text.parse::<Subnet>().is_err(), "{text}");
        }
    }

    #[test]
    fn overlap_is_containment_either_way() -> TestResult {
        let wide: Subnet = "10.0.0.0/8".parse()?;
        let narrow: Subnet = "10.200.1.0/24".parse()?;
        assert!(wide.overlaps(&narrow) && narrow.overlaps(&wide));
        assert!(!narrow.overlaps(&"10.200.2.0/24".parse()?));
        assert!(!narrow.overlaps(&"::/0".parse()?));
        Ok(())
    }

    #[test]
    fn a_block_splits_into_all_its_parts() -> TestResult {
        let parts: Vec<String> = "192.168.0.0/16"
            .parse::<Subnet>()?
            .split(20)
            .map(|part| part.to_string())
            .collect();
        assert_eq!(parts.len(), 16);
        assert_eq!(parts.last().map(String::as_str), Some("192.168.240.0/20"));
        Ok(())
    }

    #[test]
    fn name_and_broadcast_are_not_usable() -> TestResult {
        let block: Subnet = "10.0.0.0/29".parse()?;
        assert!(!block.is_usable("10.0.0.0".parse()?));
        assert!(!block.is_usable("10.0.0.7".parse()?));
        assert!(block.is_usable("10.0.0.6".parse()?));
        Ok(())
    }
}
