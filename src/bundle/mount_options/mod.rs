//! The `options` of a mount, sorted by the kernel call that carries each of them. Pure; runs in the runtime, before
//! anything is done.
//!
//! mount(2) took one flag word for four different things. The mount API that we use keeps them apart:
//!
//! | what                  | belongs to      | call                                | here                             |
//! |-----------------------|-----------------|-------------------------------------|----------------------------------|
//! | `nosuid`, `noatime` … | the mount       | fsmount, mount_setattr              | `attr_*`                         |
//! | `rnosuid`, `rro` …    | a tree of them  | mount_setattr with AT_RECURSIVE     | `rec_attr_*`                     |
//! | `sync`, `lazytime` …  | the file system | fsconfig(SET_FLAG)                  | `superblock`                     |
//! | `silent`, `iversion`  | the file system | mount(2) alone                      | `mount2`                         |
//! | `size=64m` …          | the file system | fsconfig(SET_FLAG), (SET_STRING)    | `data`                           |
//! | `rshared` …           | the mount       | mount_setattr, `propagation`        | `propagation`                    |
//!
//! The order of the options counts: of two contradicting options the later one wins, also between a plain and a
//! recursive one. This requires that **`rec_attr_*` is applied first and `attr_*` after it**.
//!
//! `ro` on a new file system goes both ways. mount(2) set it on both (`MS_RDONLY` is a flag of the superblock and of
//! the mount), and each alone has a gap: with only the attribute the superblock stays writable through any other mount
//! of it; with only the word an existing superblock (sysfs, mqueue) ignores it. `tmpcopyup` still has to write into the
//! new file system, so there the word is left out and the attribute is set at the end.
//!
//! A bind mount gets attributes only: the superblock is the host's and not ours to change. Without any flag it has those
//! of its source, as in mount(8). With a flag it has exactly the flags that its options name, as mount(2) does with
//! `MS_REMOUNT|MS_BIND` and as engines expect: `["bind", "ro"]` of a nosuid source is not nosuid. The words about access
//! times are one group: the source's stay unless one of them is named. `attr_unnamed` is what is lost that way. Recursive
//! options do not count, because they only affect what they name, and a remount changes only what it names.

mod error;
mod table;

pub use error::OptionError;
pub use table::NAMES;

use crate::plan::{FsOption, MountOptions, Propagation, Reach};
use Reach::{Plain, Recursive};
use table::Carrier::{self, Fsconfig, Mount2};
use table::Effect::{
    self, Atime, Bind, Clear, Idmap, NotAtime, NotSuper, Nothing, Propagation as Propagate, ReadOnly, ReadWrite,
    Remount, Set, Super, TmpCopyUp,
};
use table::{ATIME_MASK, NODEV, NODIRATIME, NOEXEC, NOSUID, NOSYMFOLLOW, RDONLY, RELATIME, look_up};

impl MountOptions {
    /// Sorts the options of a mount.
    pub fn parse<S: AsRef<str>>(options: &[S]) -> Result<Self, OptionError> {
        let mut parser = Parser::default();
        for (index, option) in options.iter().enumerate() {
            parser.option(index, option.as_ref())?;
        }
        parser.finish()
    }
}

/// The flags of the superblock that were named, the last word on each.
struct SuperFlag {
    name: &'static str,
    on: bool,
    carrier: Carrier,
}

#[derive(Default)]
struct Parser {
    result: MountOptions,
    /// Some flag was named that is not recursive.
    flags_named: bool,
    /// An access time mode was asked for by its name, for the mount alone.
    mode_named: bool,
    super_flags: Vec<SuperFlag>,
    all_data: Vec<(usize, String)>,
}

impl Parser {
    fn option(&mut self, index: usize, option: &str) -> Result<(), OptionError> {
        // Podman 5 writes one for a size that is not set.
        if option.is_empty() {
            return Ok(());
        }
        if option.contains('\0') {
            return Err(OptionError::Nul {
                index,
                option: option.to_owned(),
            });
        }
        match look_up(option) {
            Some((name, effect)) => self.apply(name, effect),
            None => match option.split_once('=') {
                Some((word @ ("idmap" | "ridmap"), _)) => {
                    let reach = if word == "idmap" { Plain } else { Recursive };
                    self.apply("idmap", Idmap(reach));
                    self.result.idmap_written_out = Some((index, option.to_owned()));
                }
                _ => self.data(index, option)?,
            },
        }
        Ok(())
    }

    fn apply(&mut self, name: &'static str, effect: Effect) {
        self.flags_named |= effect.is_plain_flag();
        match effect {
            // mount(8) knows the word but gives it no flag: it does not revoke an earlier `ro`.
            Nothing => {}
            // As with MS_REC, a later `bind` does not revoke `rbind`: it is part of it, not its opposite.
            Bind(Recursive) => self.result.bind = Some(Recursive),
            Bind(Plain) => self.result.bind = self.result.bind.or(Some(Plain)),
            Remount => self.result.remount = true,
            TmpCopyUp => self.result.tmpcopyup = true,
            Idmap(reach) => self.result.idmap = Some(reach),
            Propagate(kind, reach) => self.result.propagation.push(Propagation { kind, reach }),
            Set(reach, bit) => self.attribute(reach, bit, bit),
            Clear(reach, bit) => self.attribute(reach, bit, 0),
            Atime(reach, mode) => {
                self.attribute(reach, ATIME_MASK, mode);
                self.mode_named = reach == Plain;
            }
            NotAtime(reach, mode) => self.not_atime(reach, mode),
            ReadOnly => {
                self.attribute(Plain, RDONLY, RDONLY);
                self.super_flag(name, "rw", true, Fsconfig);
            }
            ReadWrite => {
                self.attribute(Plain, RDONLY, 0);
                self.super_flag(name, "ro", false, Fsconfig);
            }
            Super(carrier, opposite) => self.super_flag(name, opposite, true, carrier),
            NotSuper(carrier, opposite) => self.super_flag(name, opposite, false, carrier),
        }
    }

    /// Gives the bits of `mask` the value `value`, in place of what was asked for them before.
    fn attribute(&mut self, reach: Reach, mask: u64, value: u64) {
        // The plain fields are applied last, so a later recursive option has to clear them.
        self.withdraw(mask);
        let (set, clear) = match reach {
            Plain => (&mut self.result.attr_set, &mut self.result.attr_clear),
            Recursive => (&mut self.result.rec_attr_set, &mut self.result.rec_attr_clear),
        };
        *set = *set & !mask | value;
        // The bits of the enumeration are always cleared first, whatever they are set to; a flag is one or the other.
        *clear = *clear & !mask | if mask == ATIME_MASK { mask } else { mask & !value };

        if reach == Recursive && mask == RDONLY && value == 0 {
            self.super_flags.retain(|flag| flag.name != "ro");
        }
    }

    fn withdraw(&mut self, mask: u64) {
        self.result.attr_set &= !mask;
        self.result.attr_clear &= !mask;
    }

    /// `atime`, `nostrictatime`, `norelatime`: not this mode, which leaves open which one.
    ///
    /// As in mount(8): if another mode was requested, that one stays; otherwise it is the kernel's default, which is
    /// relatime. `norelatime` alone is then no request at all (the opposite is `strictatime`), and the mount keeps its
    /// mode.
    fn not_atime(&mut self, reach: Reach, mode: u64) {
        let result = &self.result;
        let asked = |set: u64, clear: u64| (clear & ATIME_MASK != 0).then_some(set & ATIME_MASK);
        let recursive = asked(result.rec_attr_set, result.rec_attr_clear);
        let plain = asked(result.attr_set, result.attr_clear);
        let current = if reach == Plain { plain.or(recursive) } else { recursive };
        match current {
            Some(other) if other != mode => {
                if reach == Recursive && plain == Some(mode) {
                    self.withdraw(ATIME_MASK);
                }
            }
            _ if mode != RELATIME => {
                self.attribute(reach, ATIME_MASK, RELATIME);
                self.mode_named = false;
            }
            _ => {
                self.withdraw(ATIME_MASK);
                self.mode_named = false;
                if reach == Recursive {
                    self.result.rec_attr_clear &= !ATIME_MASK;
                }
            }
        }
    }

    fn super_flag(&mut self, name: &'static str, opposite: &str, on: bool, carrier: Carrier) {
        self.super_flags
            .retain(|flag| flag.name != name && flag.name != opposite);
        self.super_flags.push(SuperFlag { name, on, carrier });
    }

    /// Splits an option of the file system as the kernel splits its `data` string: one option may contain several
    /// (`"size=64m,mode=700"` works with a runtime that passes the string to mount(2), so it has to work here).
    fn data(&mut self, index: usize, option: &str) -> Result<(), OptionError> {
        let no_key = || OptionError::NoKey {
            index,
            option: option.to_owned(),
        };
        let mut any = false;
        for piece in split_data(option) {
            let parameter = match piece.split_once('=') {
                Some(("", _)) => return Err(no_key()),
                Some((key, value)) => FsOption::String(key.to_owned(), unquote(key, value).to_owned()),
                None => FsOption::flag(piece),
            };
            self.result.data.push(parameter);
            any = true;
        }
        if !any {
            return Err(no_key());
        }
        self.all_data.push((index, option.to_owned()));
        Ok(())
    }

    /// What the options of a bind mount leave unnamed, if they name any flag.
    fn unnamed(&self) -> u64 {
        let asked = &self.result;
        if asked.bind.is_none() || asked.remount || !self.flags_named {
            return 0;
        }
        let mut all = RDONLY | NOSUID | NODEV | NOEXEC | NOSYMFOLLOW;
        // `atime` and `diratime` only revoke something, and request nothing instead of the source's.
        if self.mode_named || asked.attr_set & NODIRATIME != 0 {
            all |= NODIRATIME;
            // If no mode is named besides `nodiratime`, it is the kernel's default, relatime.
            if (asked.attr_clear | asked.rec_attr_clear) & ATIME_MASK == 0 {
                all |= ATIME_MASK;
            }
        }
        all & !(asked.attr_set | asked.attr_clear | asked.rec_attr_set)
    }

    /// What was probably meant by an option that is not in the table. On a bind mount it would have no effect, and a confining
    /// word in it would be lost. A file system accepts several in one string, but only its own and those of the superblock.
    fn meant(&self, option: &str) -> Option<Vec<String>> {
        let is_bind = self.result.bind.is_some();
        let pieces: Vec<&str> = split_data(option).map(str::trim).collect();
        let misplaced = |piece: &&str| match look_up(piece) {
            Some((_, Super(Fsconfig, _) | NotSuper(Fsconfig, _) | ReadOnly | ReadWrite)) => is_bind,
            known => known.is_some(),
        };
        if pieces.iter().any(misplaced) {
            return Some(pieces.into_iter().map(str::to_owned).collect());
        }
        if !is_bind {
            return None;
        }
        let words = option
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty());
        let words: Vec<String> = words.map(str::to_ascii_lowercase).collect();
        if matches!(words.concat().as_str(), "readonly" | "readonlytrue" | "readonly1") {
            return Some(vec!["ro".into()]);
        }
        let confining = |word: &String| look_up(word).is_some_and(|(_, effect)| effect.confines());
        let meant: Vec<String> = words.into_iter().filter(confining).collect();
        (!meant.is_empty()).then_some(meant)
    }

    fn finish(self) -> Result<MountOptions, OptionError> {
        for (index, option) in &self.all_data {
            if let Some(words) = self.meant(option) {
                return Err(OptionError::Meant {
                    index: *index,
                    option: option.clone(),
                    words,
                });
            }
        }
        let unnamed = self.unnamed();
        let Self {
            mut result,
            super_flags,
            all_data,
            ..
        } = self;
        result.attr_unnamed = unnamed;
        if result.bind.is_some() {
            result.data.clear();
            result.ignored_on_bind = all_data;
        }
        // A new file system starts with all flags off: the words that clear one are for a remount.
        for flag in super_flags.into_iter().filter(|flag| flag.on || result.remount) {
            let also_attribute = matches!(flag.name, "ro" | "rw");
            match (result.bind, flag.carrier) {
                (None, Fsconfig) => result.superblock.push(FsOption::flag(flag.name)),
                (Some(_), _) if also_attribute => {}
                (None, Mount2(bit)) if !result.remount => result.mount2 |= bit,
                (Some(_), _) | (None, Mount2(_)) => result.without_effect.push(flag.name),
            }
        }
        Ok(result)
    }
}

/// The parts between commas, empty ones left out. A comma in double quotes (SELinux categories: `context="…:c1,c2"`)
/// or after a backslash (overlay: `lowerdir=/a\,b`) separates nothing.
fn split_data(option: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    let pieces = option.split(move |c| {
        let separates = c == ',' && !quoted && !escaped;
        quoted ^= c == '"';
        escaped = c == '\\' && !escaped;
        separates
    });
    pieces.filter(|piece| !piece.is_empty())
}

/// SELinux takes the quotes off the labels in the string of mount(2), but not off a value of fsconfig(2).
fn unquote<'a>(key: &str, value: &'a str) -> &'a str {
    let label = matches!(key, "context" | "fscontext" | "defcontext" | "rootcontext");
    let bare = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    bare.filter(|_| label).unwrap_or(value)
}
