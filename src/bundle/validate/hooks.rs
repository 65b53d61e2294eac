//! `hooks`: the programs of the six points.

use oci_spec::runtime::Hook;

use crate::bundle::checks::Checks;
use crate::bundle::document::Spec;
use crate::error::{At, Context, Result, anyhow};
use crate::plan::{HookPoint, Hooks};

/// The hooks. None if one of them is wrong.
#[allow(deprecated, reason = "the spec deprecates prestart hooks, but they still run")]
pub fn hooks(spec: &Spec, checks: &mut Checks) -> Option<Hooks> {
    let Some(hooks) = spec.hooks() else {
        return checks.is_readable(&["hooks"]).then(Hooks::default);
    };
    let mut point = |list: &Option<Vec<Hook>>, point: HookPoint| {
        let point = point.name();
        checks.section(&["hooks", point], |checks| {
            let list = list.clone().unwrap_or_default();
            for (index, hook) in list.iter().enumerate() {
                let at = || At::object(format!("hooks.{point}[{index}]"), hook.path().display());
                checks.keep(check(hook).with_context(at));
            }
            Ok(list)
        })
    };
    let prestart = point(hooks.prestart(), HookPoint::Prestart);
    let create_runtime = point(hooks.create_runtime(), HookPoint::CreateRuntime);
    let create_container = point(hooks.create_container(), HookPoint::CreateContainer);
    let start_container = point(hooks.start_container(), HookPoint::StartContainer);
    let poststart = point(hooks.poststart(), HookPoint::Poststart);
    let poststop = point(hooks.poststop(), HookPoint::Poststop);
    Some(Hooks {
        prestart: prestart?,
        create_runtime: create_runtime?,
        create_container: create_container?,
        start_container: start_container?,
        poststart: poststart?,
        poststop: poststop?,
    })
}

fn check(hook: &Hook) -> Result<()> {
    let texts = [hook.args(), hook.env()].into_iter().flatten().flatten();
    let path = hook.path().to_str().into_iter();
    if texts.map(String::as_str).chain(path).any(|text| text.contains('\0')) {
        return Err(anyhow!("contains a NUL byte"));
    }
    if !hook.path().is_absolute() {
        return Err(anyhow!("path must be absolute"));
    }
    if hook.timeout().is_some_and(|seconds| seconds <= 0) {
        return Err(anyhow!("timeout must be above 0 seconds"));
    }
    Ok(())
}
