//! The rtnetlink(7) requests needed to move a network device. Numbers are in host byte order.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::sys::{Arg, Call, SysError, SysResult, Syscall, socket};

/// A route socket; it stays in the network namespace in which it was opened.
pub struct Route {
    socket: OwnedFd,
    sequence: u32,
}

/// A network device as the kernel describes it.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    pub index: i32,
    pub up: bool,
}

/// An address of a device, in a form that can be added to another one.
#[derive(Debug, Clone)]
pub struct Address {
    family: u8,
    prefix: u8,
    /// Those `IFA_F_*` flags that can be set.
    flags: u32,
    /// Type and content.
    attributes: Vec<(u16, Vec<u8>)>,
}

const HEADER: usize = 16;
/// struct ifaddrmsg of linux/if_addr.h.
const ADDRESS_BODY: usize = 8;

/// The attributes of an address that its owner chooses; the kernel sets the others.
const GIVEN: &[u16] = &[
    libc::IFA_ADDRESS,
    libc::IFA_LOCAL,
    libc::IFA_LABEL,
    libc::IFA_BROADCAST,
    IFA_RT_PRIORITY,
];
const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;
/// NODAD, HOMEADDRESS, MANAGETEMPADDR, NOPREFIXROUTE, MCAUTOJOIN of linux/if_addr.h.
const GIVEN_FLAGS: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;

impl Route {
    pub fn open() -> SysResult<Self> {
        Ok(Route {
            socket: socket::netlink_route()?,
            sequence: 0,
        })
    }

    /// The device of this name; `ENODEV` if there is none.
    pub fn link(&mut self, name: &str) -> SysResult<Link> {
        let mut body = link_body(0, 0, 0);
        attribute(&mut body, libc::IFLA_IFNAME, &c_string(name));
        let call = || Syscall::RtmGetlink.of(name);
        let answers = self.ask(libc::RTM_GETLINK, libc::NLM_F_ACK, &body, &call)?;
        let answer = answers.iter().find(|answer| answer.kind == libc::RTM_NEWLINK);
        let found = answer.and_then(|answer| {
            Some(Link {
                index: i32::from_ne_bytes(word(&answer.body, 4)?),
                up: u32::from_ne_bytes(word(&answer.body, 8)?) & libc::IFF_UP as u32 != 0,
            })
        });
        found.ok_or_else(|| SysError::new(call(), Errno::ENODEV))
    }

    /// The permanent addresses with a scope beyond their link, by the index of their device.
    pub fn permanent_addresses(&mut self) -> SysResult<BTreeMap<i32, Vec<Address>>> {
        let call = || Call::from(Syscall::RtmGetaddr);
        let answers = self.ask(libc::RTM_GETADDR, libc::NLM_F_DUMP, &[0; ADDRESS_BODY], &call)?;
        let mut addresses: BTreeMap<i32, Vec<Address>> = BTreeMap::new();
        for answer in answers.iter().filter(|answer| answer.kind == libc::RTM_NEWADDR) {
            if let Some((index, address)) = permanent_address(&answer.body) {
                addresses.entry(index).or_default().push(address);
            }
        }
        Ok(addresses)
    }

    pub fn add_address(&mut self, index: i32, address: &Address) -> SysResult<()> {
        let mut body = vec![address.family, address.prefix, 0, libc::RT_SCOPE_UNIVERSE];
        body.extend(index.to_ne_bytes());
        for (kind, content) in &address.attributes {
            attribute(&mut body, *kind, content);
        }
        attribute(&mut body, IFA_FLAGS, &address.flags.to_ne_bytes());
        let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let call = || Syscall::RtmNewaddr.of(Arg::Word(address.text().into()));
        self.ask(libc::RTM_NEWADDR, flags, &body, &call).map(drop)
    }

    /// Moves a device into another network namespace under another name. The move brings it down and removes its addresses.
    pub fn send_away(&mut self, index: i32, namespace: BorrowedFd, name: &str) -> SysResult<()> {
        let mut body = link_body(index, 0, 0);
        attribute(&mut body, libc::IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
        attribute(&mut body, libc::IFLA_IFNAME, &c_string(name));
        let call = || Syscall::RtmNewlink.of(Arg::word("IFLA_NET_NS_FD"));
        self.ask(libc::RTM_NEWLINK, libc::NLM_F_ACK, &body, &call).map(drop)
    }

    /// Renames a device; `%d` in the name becomes the first free number.
    pub fn rename(&mut self, index: i32, name: &str) -> SysResult<()> {
        let mut body = link_body(index, 0, 0);
        attribute(&mut body, libc::IFLA_IFNAME, &c_string(name));
        let call = || Syscall::RtmNewlink.of(Arg::named("IFLA_IFNAME", name));
        self.ask(libc::RTM_NEWLINK, libc::NLM_F_ACK, &body, &call).map(drop)
    }

    pub fn set_up(&mut self, index: i32) -> SysResult<()> {
        let up = libc::IFF_UP as u32;
        let call = || Syscall::RtmNewlink.of(Arg::word("IFF_UP"));
        self.ask(libc::RTM_NEWLINK, libc::NLM_F_ACK, &link_body(index, up, up), &call)
            .map(drop)
    }

    /// Sends one request and collects the answers.
    fn ask(&mut self, kind: u16, flags: i32, body: &[u8], call: &dyn Fn() -> Call) -> SysResult<Vec<Answer>> {
        self.sequence += 1;
        let mut request = Vec::with_capacity(HEADER + body.len());
        request.extend(((HEADER + body.len()) as u32).to_ne_bytes());
        request.extend(kind.to_ne_bytes());
        request.extend(((libc::NLM_F_REQUEST | flags) as u16).to_ne_bytes());
        request.extend(self.sequence.to_ne_bytes());
        request.extend(0u32.to_ne_bytes());
        request.extend(body);
        socket::send(self.socket.as_fd(), &request, None)?;
        let mut answers = Vec::new();
        // The kernel never sends more than this in one message.
        let mut buffer = vec![0; 64 << 10];
        loop {
            let (length, _) = socket::receive(self.socket.as_fd(), &mut buffer)?;
            let mut rest = buffer.get(..length).unwrap_or_default();
            if rest.is_empty() {
                return Err(SysError::new(call(), Errno::EPROTO));
            }
            while let Some((answer, sequence, after)) = split(rest) {
                rest = after;
                if sequence != self.sequence {
                    continue;
                }
                match i32::from(answer.kind) {
                    libc::NLMSG_ERROR => {
                        return match word(&answer.body, 0).map(i32::from_ne_bytes) {
                            Some(0) => Ok(answers),
                            Some(errno) => Err(SysError::new(call(), Errno::from_raw(-errno))),
                            None => Err(SysError::new(call(), Errno::EPROTO)),
                        };
                    }
                    libc::NLMSG_DONE => return Ok(answers),
                    _ => answers.push(answer),
                }
            }
        }
    }
}

impl Address {
    /// Labels of IPv4 addresses begin with the name of the device; after a rename they would be misleading.
    pub fn relabel(&mut self, name: &str, new_name: &str) {
        for (kind, content) in &mut self.attributes {
            if *kind == libc::IFA_LABEL
                && let Some(rest) = content.strip_prefix(name.as_bytes())
            {
                *content = [new_name.as_bytes(), rest].concat();
            }
        }
        // A label that is now too long, or whose device name only the kernel will know, is removed.
        self.attributes.retain(|(kind, content)| {
            *kind != libc::IFA_LABEL || content.len() <= libc::IFNAMSIZ && !content.contains(&b'%')
        });
    }

    fn text(&self) -> String {
        let local = |wanted: u16| self.attributes.iter().find(|(kind, _)| *kind == wanted);
        let bytes = local(libc::IFA_LOCAL).or_else(|| local(libc::IFA_ADDRESS));
        let bytes = bytes.map(|(_, content)| content.as_slice()).unwrap_or_default();
        let address = match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
            (Ok(four), _) => std::net::Ipv4Addr::from(four).to_string(),
            (_, Ok(sixteen)) => std::net::Ipv6Addr::from(sixteen).to_string(),
            _ => format!("{bytes:x?}"),
        };
        format!("{address}/{}", self.prefix)
    }
}

struct Answer {
    kind: u16,
    body: Vec<u8>,
}

/// The first message, its sequence number, and the remaining bytes.
fn split(bytes: &[u8]) -> Option<(Answer, u32, &[u8])> {
    let length = u32::from_ne_bytes(word(bytes, 0)?) as usize;
    let answer = Answer {
        kind: u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?),
        body: bytes.get(HEADER..length)?.to_vec(),
    };
    let rest = bytes.get(aligned(length)..).unwrap_or_default();
    Some((answer, u32::from_ne_bytes(word(bytes, 8)?), rest))
}

/// The index of the device, and the address.
fn permanent_address(body: &[u8]) -> Option<(i32, Address)> {
    let &[family, prefix, short_flags, scope] = body.first_chunk::<4>()?;
    let index = i32::from_ne_bytes(word(body, 4)?);
    if scope != libc::RT_SCOPE_UNIVERSE {
        return None;
    }
    let mut flags = u32::from(short_flags);
    let mut attributes = Vec::new();
    let mut rest = body.get(ADDRESS_BODY..)?;
    while let Some(head) = rest.first_chunk::<4>() {
        let [l0, l1, k0, k1] = *head;
        let (length, kind) = (usize::from(u16::from_ne_bytes([l0, l1])), u16::from_ne_bytes([k0, k1]));
        let content = rest.get(4..length)?;
        if kind == IFA_FLAGS {
            flags = u32::from_ne_bytes(word(content, 0)?);
        } else if GIVEN.contains(&kind) {
            attributes.push((kind, content.to_vec()));
        }
        rest = rest.get(aligned(length)..).unwrap_or_default();
    }
    let address = Address {
        family,
        prefix,
        flags: flags & GIVEN_FLAGS,
        attributes,
    };
    (flags & libc::IFA_F_PERMANENT != 0).then_some((index, address))
}

/// struct ifinfomsg of linux/rtnetlink.h.
fn link_body(index: i32, flags: u32, change: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(index.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    body.extend(change.to_ne_bytes());
    body
}

/// Appends a struct rtattr.
fn attribute(message: &mut Vec<u8>, kind: u16, content: &[u8]) {
    message.extend(((4 + content.len()) as u16).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(content);
    message.resize(aligned(message.len()), 0);
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn word(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..at + 4)?.try_into().ok()
}

fn c_string(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}
