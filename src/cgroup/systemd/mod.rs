//! The container's cgroup as a systemd scope (`--systemd-cgroup`): its leaf is created, limited and removed through D-Bus,
//! because only systemd may write to that part of the tree (systemd's CGROUP_DELEGATION.md, "single writer"). Run by the
//! runtime. The scope is delegated: the cgroups below the leaf, and the files that systemd has no property for, are ours.
//!
//! A scope needs a process, but init must be created inside it with the limits in place. Until then a [`Placeholder`] is the
//! process of the scope.

pub mod annotations;
pub mod gvariant;
mod placeholder;
pub mod properties;
pub mod unit;

use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

pub use self::placeholder::Placeholder;
use self::properties::Property;
use self::unit::Unit;
use super::tree::{self, Leaf};
use super::{directory, mount, owner, removal};
use crate::dbus::{self, ADD_MATCH, BUS, Bus, DbusError, Method, Value};
use crate::error::{At, Context, Error, Hint, Result, anyhow, bail, with_hint};
use crate::interrupt::Interrupts;
use crate::log;
use crate::plan::limits::{BlockDevice, Setting};
use crate::plan::{Cgroup, Scope};
use crate::state::Container;
use crate::state::record::{CgroupState, UnitBefore, UnitState};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const OBJECT: &str = "/org/freedesktop/systemd1";

/// A connection to systemd.
pub struct Systemd {
    bus: Bus,
    version: u32,
    /// The cgroup below which systemd has all of its units.
    control_group: PathBuf,
}

fn manager(name: &str) -> Method<'_> {
    Method {
        destination: SYSTEMD,
        path: OBJECT,
        interface: MANAGER,
        name,
    }
}

fn property_of(path: &str) -> Method<'_> {
    Method {
        destination: SYSTEMD,
        path,
        interface: "org.freedesktop.DBus.Properties",
        name: "Get",
    }
}

fn get(interface: &str, name: &str) -> Vec<Value> {
    vec![Value::text(interface), Value::text(name)]
}

fn array_of(properties: Vec<Property>) -> Value {
    let pair = |(name, value)| Value::Struct(vec![Value::Text(name), Value::variant(value)]);
    Value::Array("(sv)".into(), properties.into_iter().map(pair).collect())
}

/// The device file of a block device, which systemd wants instead of its numbers.
fn node(device: BlockDevice) -> Option<String> {
    let event = std::fs::read_to_string(format!("/sys/dev/block/{device}/uevent")).ok()?;
    let name = event.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    Some(format!("/dev/{name}"))
}

impl Systemd {
    /// Connects, and reads what must be known before anything is done.
    pub fn open(user: bool, interrupts: Option<Rc<Interrupts>>) -> Result<Self> {
        let open = || -> Result<Self> {
            let mut bus = Bus::connect(&dbus::address(user)?, interrupts)?;
            // All are sent before the first answer is read.
            let rule = format!("type='signal',sender='{SYSTEMD}',interface='{MANAGER}',member='JobRemoved'");
            let calls = [
                (ADD_MATCH, vec![Value::Text(rule)]),
                (manager("Subscribe"), Vec::new()),
                (property_of(OBJECT), get(MANAGER, "Version")),
                (property_of(OBJECT), get(MANAGER, "ControlGroup")),
            ];
            let mut answers = Vec::new();
            let sent: Result<Vec<_>> = calls
                .into_iter()
                .map(|(method, body)| Ok((bus.send(&method, body)?, method.name)))
                .collect();
            for (serial, name) in sent? {
                answers.push(bus.answer(serial, name));
            }
            let mut answers = answers.into_iter();
            let mut text = || -> Result<String> {
                let answer = answers.next().ok_or_else(|| anyhow!("too few answers"))??;
                Ok(answer.first().and_then(Value::as_text).unwrap_or_default().into())
            };
            text()?;
            text()?;
            let version = unit::version(&text()?)?;
            let control_group = relative(&text()?)?;
            Ok(Systemd {
                bus,
                version,
                control_group,
            })
        };
        open().map_err(absent).context("systemd")
    }

    /// The scope's place in the tree.
    pub fn place(&self, scope: &Scope, container: &Container, created: &str) -> Result<CgroupState> {
        let unit = scope.unit(&container.id)?;
        Ok(CgroupState {
            path: mount::mount_point()?
                .join(&self.control_group)
                .join(unit::expand(&unit.slice)?)
                .join(&unit.name),
            existed: false,
            owner: owner::mark_of(container, created),
            inode: 0,
            unit: Some(UnitState {
                name: unit.name,
                user: scope.user,
            }),
            parents: Vec::new(),
        })
    }

    /// Starts the scope with the placeholder in it, and with all limits that systemd knows and that a new cgroup accepts.
    pub fn start(
        &mut self,
        place: CgroupState,
        plan: &Cgroup,
        scope: &Scope,
        id: &str,
        placeholder: &Placeholder,
    ) -> Result<Leaf> {
        let unit = scope.unit(id)?;
        let name = &unit.name;
        self.start_unit(plan, scope, &unit, id, placeholder)
            .map_err(|error| explained(error, scope, name))
            .with_context(|| format!("unit {name:?}"))?;
        let adopt = || -> Result<Leaf> {
            let object = unit::object(name);
            let answer = self.bus.call(
                &property_of(&object),
                get("org.freedesktop.systemd1.Scope", "ControlGroup"),
            )?;
            let path = relative(answer.first().and_then(Value::as_text).unwrap_or_default())?;
            if path.as_os_str().is_empty() {
                bail!("the unit has no cgroup");
            }
            let path = mount::mount_point()?.join(path);
            tree::adopt(CgroupState { path, ..place }, plan)
        };
        adopt().with_context(|| format!("unit {name:?}")).inspect_err(|_| {
            // It ends by itself without its placeholder.
            if let Err(error) = self.stop(name) {
                log::debug(|| format!("unit {name:?} was not stopped: {error:#}"));
            }
        })
    }

    fn start_unit(
        &mut self,
        plan: &Cgroup,
        scope: &Scope,
        unit: &Unit,
        id: &str,
        placeholder: &Placeholder,
    ) -> Result<()> {
        let settings: Vec<Setting> = plan
            .limits
            .settings
            .iter()
            .filter(|setting| !setting.comes_late(true))
            .cloned()
            .collect();
        let truth = |name: &str, value| (name.to_string(), Value::Bool(value));
        let mut all: Vec<Property> = vec![
            ("Description".into(), Value::text(format!("orlop container {id}"))),
            ("Slice".into(), Value::text(&unit.slice)),
            truth("Delegate", true),
            (
                "PIDs".into(),
                Value::Array("u".into(), vec![Value::Uint32(placeholder.pid() as u32)]),
            ),
            // It must end with its container, and not be stopped before other units.
            truth("DefaultDependencies", false),
            truth("CPUAccounting", true),
            truth("IOAccounting", true),
            truth("MemoryAccounting", true),
            truth("TasksAccounting", true),
        ];
        all.extend(properties::of_start(&settings, self.version));
        all.extend(properties::of(&settings, self.version, node));
        for property in &scope.properties {
            all.retain(|(name, _)| *name != property.0);
            all.push(property.clone());
        }
        let body = vec![
            Value::text(&unit.name),
            Value::text("replace"),
            array_of(all),
            Value::Array("(sa(sv))".into(), Vec::new()),
        ];
        let job = match self.bus.call(&manager("StartTransientUnit"), body.clone()) {
            // It may be a failed unit that systemd keeps for inspection.
            Err(error) if is(&error, "UnitExists") => {
                self.reset(&unit.name);
                self.bus.call(&manager("StartTransientUnit"), body)?
            }
            other => other?,
        };
        match self.result_of(&job)?.as_str() {
            "done" => Ok(()),
            result => {
                self.reset(&unit.name);
                Err(with_hint(
                    format!("systemd did not start it: {result}"),
                    format!("see `journalctl --unit {}`", unit.name),
                ))
            }
        }
    }

    /// Waits for the end of a job (org.freedesktop.systemd1(5), JobRemoved). `answer` is the one to the call that made it.
    fn result_of(&mut self, answer: &[Value]) -> Result<String> {
        let Some(Value::Path(job)) = answer.first() else {
            bail!("systemd's answer does not contain a job")
        };
        let removed = self.bus.signal(|message| {
            message.interface.as_deref() == Some(MANAGER)
                && message.member.as_deref() == Some("JobRemoved")
                && message.body.get(1).and_then(Value::as_text) == Some(job)
        });
        let removed = removed.context("waiting for the end of the job")?;
        let result = removed.body.get(3).and_then(Value::as_text);
        Ok(result.unwrap_or_default().into())
    }

    /// Sets limits of a running unit, until the next boot.
    pub fn set(&mut self, unit: &str, settings: &[Setting]) -> Result<()> {
        self.set_properties(unit, properties::of(settings, self.version, node))
    }

    /// Restores the limits of a running unit.
    pub fn restore(&mut self, unit: &str, before: &UnitBefore) -> Result<()> {
        self.set_properties(unit, properties::restoring(before, self.version, node))
    }

    fn set_properties(&mut self, unit: &str, properties: Vec<Property>) -> Result<()> {
        if properties.is_empty() {
            return Ok(());
        }
        let body = vec![Value::text(unit), Value::Bool(true), array_of(properties)];
        self.bus
            .call(&manager("SetUnitProperties"), body)
            .with_context(|| format!("unit {unit:?}"))
            .map(drop)
    }

    /// Moves a process into a unit, or into a cgroup below it, where the caller lacks the permission to.
    pub fn attach(&mut self, unit: &str, below: &Path, pid: i32) -> Result<()> {
        let below = match below.to_str() {
            Some("") => String::new(),
            Some(path) => format!("/{path}"),
            None => bail!("{below:?} is not UTF-8"),
        };
        let pids = Value::Array("u".into(), vec![Value::Uint32(pid as u32)]);
        let body = vec![Value::text(unit), Value::Text(below), pids];
        self.bus
            .call(&manager("AttachProcessesToUnit"), body)
            .with_context(|| format!("unit {unit:?}"))
            .map(drop)
    }

    /// Stops a unit whose processes have ended, and waits until it is gone.
    fn stop(&mut self, unit: &str) -> Result<()> {
        match self
            .bus
            .call(&manager("StopUnit"), vec![Value::text(unit), Value::text("replace")])
        {
            Ok(job) => {
                let result = self.result_of(&job)?;
                if result != "done" {
                    log::debug(|| format!("unit {unit:?} was stopped with the result {result:?}"));
                }
            }
            // An empty scope ends by itself.
            Err(error) if is(&error, "NoSuchUnit") => {}
            Err(error) => return Err(error),
        }
        self.reset(unit);
        Ok(())
    }

    /// Makes systemd forget a failed unit.
    fn reset(&mut self, unit: &str) {
        // A unit that has not failed is usually gone already.
        if let Err(error) = self.bus.call(&manager("ResetFailedUnit"), vec![Value::text(unit)]) {
            log::debug(|| format!("unit {unit:?}: {error:#}"));
        }
    }
}

/// Removes a container's cgroup through whatever created it, systemd or orlop.
pub fn remove(cgroup: &CgroupState) -> Result<()> {
    let Some(unit) = &cgroup.unit else {
        return removal::remove(cgroup);
    };
    // Emptied first, because systemd would send SIGTERM to the processes and wait.
    removal::empty(cgroup)?;
    let stop = || -> Result<()> {
        let mut systemd = Systemd::open(unit.user, None)?;
        // The name may belong to another container by now.
        if directory::own_directory(cgroup)?.is_some() {
            systemd.stop(&unit.name)
        } else {
            systemd.reset(&unit.name);
            Ok(())
        }
    };
    if let Err(error) = stop() {
        // systemd notices that the cgroup is gone.
        log::warning(&format!("unit {:?} was not stopped: {error:#}", unit.name));
    }
    removal::remove(cgroup)
}

/// A cgroup path from systemd, relative to the mount of cgroup2.
fn relative(path: &str) -> Result<PathBuf> {
    let path: PathBuf = path.trim_start_matches('/').into();
    if path.components().any(|part| !matches!(part, Component::Normal(_))) {
        bail!("systemd reports the invalid cgroup path {path:?}");
    }
    Ok(path)
}

fn is(error: &Error, name: &str) -> bool {
    let dbus_error = error.downcast_ref::<DbusError>();
    dbus_error.is_some_and(|dbus_error| dbus_error.name.strip_prefix("org.freedesktop.systemd1.") == Some(name))
}

/// Adds a hint if systemd is not on the bus.
fn absent(error: Error) -> Error {
    let unknown = error.downcast_ref::<DbusError>().is_some_and(|dbus_error| {
        dbus_error.name.starts_with("org.freedesktop.DBus.Error.") && !dbus_error.name.ends_with("AccessDenied")
    });
    if !unknown {
        return error;
    }
    error.context(Hint {
        message: format!("the bus works, but systemd does not answer on it ({BUS})"),
        hint: "leave --systemd-cgroup out, to create cgroups without systemd".into(),
    })
}

/// Adds a hint to the error for a unit that systemd refused.
fn explained(error: Error, scope: &Scope, name: &str) -> Error {
    if is(&error, "UnitExists") {
        return error
            .context(Hint {
                message: "a unit of this name exists already".into(),
                hint: format!("choose another linux.cgroupsPath, or stop that unit: `systemctl stop {name}`"),
            })
            .context(At::object(
                "linux.cgroupsPath",
                scope.path.as_deref().unwrap_or_default(),
            ));
    }
    let Some(dbus_error) = error.downcast_ref::<DbusError>() else {
        return error;
    };
    // Only the text of the error names the property.
    let blamed = scope
        .properties
        .iter()
        .find(|(name, _)| dbus_error.text.contains(name.as_str()));
    match blamed {
        Some((name, _)) => {
            let at = At::new(format!("annotations.{}{name}", annotations::PREFIX));
            error
                .context(Hint {
                    message: "systemd rejects this property".into(),
                    hint: "the properties of a scope are in systemd.resource-control(5), systemd.scope(5) and \
                           systemd.kill(5)"
                        .into(),
                })
                .context(at)
        }
        None => error.context(Hint {
            message: "systemd rejects the unit".into(),
            hint: "see systemd's messages in the journal: `journalctl _PID=1`".into(),
        }),
    }
}
