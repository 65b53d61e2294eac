//! `linux.resources.blockIO`: weights and rates of block devices.

use oci_spec::runtime as oci;

use super::refuse::{refuse, wrong};
use crate::error::Result;
use crate::plan::limits::{BlockDevice, Limit, Max, Rates, Setting};

pub fn convert(block: &oci::LinuxBlockIo, settings: &mut Vec<Setting>) -> Result<()> {
    const LEAF: &str = "containers that are to share by weight need separate cgroups";
    refuse("blockIO.leafWeight", block.leaf_weight().unwrap_or(0) != 0, LEAF)?;
    if let Some(weight) = block.weight().filter(|weight| *weight != 0) {
        settings.push(weight_of("blockIO.weight", None, weight)?);
    }
    for (index, entry) in block.weight_device().iter().flatten().enumerate() {
        let field = format!("blockIO.weightDevice[{index}]");
        refuse(
            &format!("{field}.leafWeight"),
            entry.leaf_weight().unwrap_or(0) != 0,
            LEAF,
        )?;
        let device = device(&field, entry.major(), entry.minor())?;
        match entry.weight() {
            None if entry.leaf_weight().is_none() => {
                return wrong(&field, "has no weight".into(), "give it \"weight\", 10 to 1000");
            }
            None | Some(0) => {}
            Some(weight) => settings.push(weight_of(&format!("{field}.weight"), Some(device), weight)?),
        }
    }
    rates(block, settings)
}

fn rates(block: &oci::LinuxBlockIo, settings: &mut Vec<Setting>) -> Result<()> {
    let read_bytes = |rate| Rates {
        read_bytes: rate,
        ..Rates::default()
    };
    let write_bytes = |rate| Rates {
        write_bytes: rate,
        ..Rates::default()
    };
    let read_operations = |rate| Rates {
        read_operations: rate,
        ..Rates::default()
    };
    let write_operations = |rate| Rates {
        write_operations: rate,
        ..Rates::default()
    };
    type Field<'a> = (
        &'a str,
        fn(Option<Max>) -> Rates,
        &'a Option<Vec<oci::LinuxThrottleDevice>>,
    );
    let fields: [Field; 4] = [
        ("throttleReadBpsDevice", read_bytes, block.throttle_read_bps_device()),
        ("throttleWriteBpsDevice", write_bytes, block.throttle_write_bps_device()),
        (
            "throttleReadIOPSDevice",
            read_operations,
            block.throttle_read_iops_device(),
        ),
        (
            "throttleWriteIOPSDevice",
            write_operations,
            block.throttle_write_iops_device(),
        ),
    ];
    for (name, rates, list) in fields {
        for (index, entry) in list.iter().flatten().enumerate() {
            let field = format!("blockIO.{name}[{index}]");
            let device = device(&field, entry.major(), entry.minor())?;
            // A rate of 0 means no limit, as in version 1.
            let rate = match entry.rate() {
                0 => Max::Unlimited,
                rate => Max::At(rate),
            };
            let rates = rates(Some(rate));
            settings.push(Setting::new(field, Limit::IoMax { device, rates }));
        }
    }
    Ok(())
}

fn weight_of(field: &str, device: Option<BlockDevice>, weight: u16) -> Result<Setting> {
    if !(10..=1000).contains(&weight) {
        return wrong(
            field,
            format!("{weight} is not between 10 and 1000"),
            "the usual weight is 500",
        );
    }
    Ok(Setting::new(field, Limit::BlockWeight { device, weight }))
}

fn device(field: &str, major: i64, minor: i64) -> Result<BlockDevice> {
    let number = |name: &str, number: i64| {
        u32::try_from(number).or_else(|_| {
            wrong(
                &format!("{field}.{name}"),
                format!("{number} is not a valid device number"),
                "`lsblk` shows the numbers of block devices",
            )
        })
    };
    Ok(BlockDevice {
        major: number("major", major)?,
        minor: number("minor", minor)?,
    })
}
