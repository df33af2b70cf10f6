//! Rules of others that stand in our way. An accepting rule of ours cannot help against a dropping one of another table,
//! and tables of others are not ours to change (Docker's chain for the rules of others aside, see `firewall::docker`),
//! so all we can do is to say what is wrong and what helps.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the kernel's attributes are many and grow; only a few concern us"
)]

use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Hook, HookNumber, InetHookNumber, NfTablesMessage,
};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};

use super::netlink::Netlink;

const POLICY_DROP: u32 = 0;
/// Docker's chain for the rules of others, where `firewall::docker` has put ours.
const DOCKER_CHAIN: &str = "DOCKER-USER";

/// Says what keeps forwarded packets from passing, where something does.
pub(crate) fn find() -> Option<String> {
    let chains = chains()?;
    if chains.iter().any(|chain| chain.name == DOCKER_CHAIN) {
        return None; // our bridges pass there
    }
    let dropping = chains.iter().find(|chain| chain.drops_forwarded)?;
    Some(format!(
        "the host's table `{}` drops forwarded packets (chain `{}` has the policy drop), so containers may not reach each other or the outside: let the bridges of this engine pass there",
        dropping.table, dropping.name
    ))
}

#[derive(Debug, Default)]
struct Chain {
    table: String,
    name: String,
    drops_forwarded: bool,
}

/// The chains of IPv4; nothing where they cannot be listed.
fn chains() -> Option<Vec<Chain>> {
    let header = NetfilterHeader::new(NetfilterProtoFamily::IPv4, 0, 0);
    let query = NfTablesMessage::GetChain(ChainMessage {
        attributes: Vec::new(),
    });
    let found = Netlink::netfilter()
        .ok()?
        .dump(NetfilterMessage::new(header, query))
        .ok()?;
    Some(found.into_iter().filter_map(chain).collect())
}

fn chain(message: NetfilterMessage) -> Option<Chain> {
    let NetfilterMessageInner::NfTables(NfTablesMessage::NewChain(message)) = message.inner else {
        return None;
    };
    let mut chain = Chain::default();
    let (mut forward, mut drops) = (false, false);
    for attribute in message.attributes {
        match attribute {
            ChainAttribute::Table(table) => chain.table = table,
            ChainAttribute::Name(name) => chain.name = name,
            ChainAttribute::Policy(policy) => drops = policy == POLICY_DROP,
            ChainAttribute::Hook(hooks) => forward = hooks.iter().any(is_forward),
            _ => {}
        }
    }
    chain.drops_forwarded = forward && drops;
    Some(chain)
}

fn is_forward(hook: &Hook) -> bool {
    matches!(
        hook,
        Hook::Number(HookNumber::Inet(InetHookNumber::Forward) | HookNumber::Other(2))
    )
}
