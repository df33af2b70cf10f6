//! The few nftables expressions that our rules are made of, as netlink attributes.

use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::nftables::{
    Bitwise, Cmp, DataAttribute, ExpressionAttribute, Expressions, Immediate, ListAttribute,
    Lookup, Meta, MetaKey, Operator, Payload, Register, Verdict, VerdictAttribute,
};

/// One expression of a rule.
pub(crate) type Expression = ListAttribute<ExpressionAttribute>;

/// Start of the network header in payload loads.
pub(crate) const NETWORK_HEADER: u32 = 1;
/// Start of the transport header in payload loads.
pub(crate) const TRANSPORT_HEADER: u32 = 2;
/// The connection was translated to another destination.
pub(crate) const STATUS_DESTINATION_TRANSLATED: u32 = 1 << 5;
/// The packet belongs to a known connection, or to one that a known connection announced.
pub(crate) const STATE_ESTABLISHED_OR_RELATED: u32 = 1 << 1 | 1 << 2;

const VERDICT_DROP: u32 = 0;
const VERDICT_ACCEPT: u32 = 1;

/// A 32-bit register by its number from 0.
pub(crate) fn register(number: u32) -> Register {
    Register::from(u32::from(Register::Reg32_00) + number)
}

/// Loads a fact about the packet.
pub(crate) fn meta(key: MetaKey, to: Register) -> Expression {
    Expressions::Meta(vec![Meta::DestinationRegister(to), Meta::Key(key)]).into()
}

/// Loads bytes of the packet.
pub(crate) fn payload(base: u32, offset: u32, length: u32, to: Register) -> Expression {
    Expressions::Payload(vec![
        Payload::DestinationRegister(to),
        Payload::Base(base),
        Payload::Offset(offset),
        Payload::Len(length),
    ])
    .into()
}

/// Goes on where a register holds (or does not hold) these bytes.
pub(crate) fn compare(from: Register, operator: Operator, value: &[u8]) -> Expression {
    Expressions::Cmp(vec![
        Cmp::SourceRegister(from),
        Cmp::Op(operator),
        Cmp::Data(DataAttribute::Value(value.to_vec())),
    ])
    .into()
}

/// Masks a register.
pub(crate) fn mask(register: Register, mask: &[u8]) -> Expression {
    let length = u32::try_from(mask.len()).unwrap_or(0);
    Expressions::Bitwise(vec![
        Bitwise::SourceRegister(register),
        Bitwise::DestinationRegister(register),
        Bitwise::Length(length),
        Bitwise::Mask(DataAttribute::Value(mask.to_vec())),
        Bitwise::Xor(DataAttribute::Value(vec![0; mask.len()])),
    ])
    .into()
}

/// Goes on where the registers from this one hold a member of a set.
pub(crate) fn member(set: &str, from: Register, wanted: Membership) -> Expression {
    let mut attributes = vec![Lookup::Set(set.to_owned()), Lookup::SourceRegister(from)];
    if wanted == Membership::Out {
        attributes.push(Lookup::Flags(1));
    }
    Expressions::Lookup(attributes).into()
}

/// Whether a value must be in a set or must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Membership {
    /// In.
    In,
    /// Not in.
    Out,
}

/// Replaces the registers by what a map says for them; ends the rule where it says nothing.
pub(crate) fn translate(map: &str, register: Register) -> Expression {
    Expressions::Lookup(vec![
        Lookup::Set(map.to_owned()),
        Lookup::SourceRegister(register),
        Lookup::DestinationRegister(register),
    ])
    .into()
}

/// Sends the connection to the address and port in two registers.
pub(crate) fn destination_nat(family: u32, address: Register, port: Register) -> Expression {
    other(
        "nat",
        &[(1, 1), (2, family), (3, address.into()), (5, port.into())],
    )
}

/// Gives the connection the address of the interface that it leaves by.
pub(crate) fn masquerade() -> Expression {
    other("masq", &[])
}

/// Loads the kind of the destination address (`local` is 2) from the routing tables.
pub(crate) fn destination_kind(to: Register) -> Expression {
    other("fib", &[(1, to.into()), (2, 3), (3, 2)])
}

/// Loads the state of the connection.
pub(crate) fn connection_state(to: Register) -> Expression {
    other("ct", &[(1, to.into()), (2, 0)])
}

/// Loads what was done to the connection.
pub(crate) fn connection_status(to: Register) -> Expression {
    other("ct", &[(1, to.into()), (2, 2)])
}

/// Puts bytes into a register.
pub(crate) fn load(value: &[u8], to: Register) -> Expression {
    Expressions::Immediate(vec![
        Immediate::DestinationRegister(to),
        Immediate::Data(DataAttribute::Value(value.to_vec())),
    ])
    .into()
}

fn other(name: &str, attributes: &[(u16, u32)]) -> Expression {
    let attributes = attributes
        .iter()
        .map(|(kind, value)| DefaultNla::new(*kind, value.to_be_bytes().to_vec()))
        .collect();
    Expressions::Other {
        expression_type: name.to_owned(),
        attributes,
    }
    .into()
}

/// Lets the packet pass this table.
pub(crate) fn accept() -> Expression {
    verdict(vec![VerdictAttribute::Code(Verdict::Other(VERDICT_ACCEPT))])
}

/// Ends the packet.
pub(crate) fn drop_packet() -> Expression {
    verdict(vec![VerdictAttribute::Code(Verdict::Other(VERDICT_DROP))])
}

/// Goes on in another chain and comes back.
pub(crate) fn jump(chain: &str) -> Expression {
    verdict(vec![
        VerdictAttribute::Code(Verdict::Jump),
        VerdictAttribute::Chain(chain.to_owned()),
    ])
}

fn verdict(attributes: Vec<VerdictAttribute>) -> Expression {
    Expressions::Immediate(vec![
        Immediate::DestinationRegister(Register::Verdict),
        Immediate::Data(DataAttribute::Verdict(attributes)),
    ])
    .into()
}
