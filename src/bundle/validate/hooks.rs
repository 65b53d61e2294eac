//! `hooks`: the programs of the six points.

use oci_spec::runtime::Hook;

use crate::bundle::document::Spec;
use crate::error::{At, Context, Result, anyhow};
use crate::plan::{HookPoint, Hooks};

pub fn plan(spec: &Spec) -> Result<Hooks> {
    let Some(hooks) = spec.hooks() else {
        return Ok(Hooks::default());
    };
    let check = |list: &Option<Vec<Hook>>, point: HookPoint| -> Result<Vec<Hook>> {
        let list = list.clone().unwrap_or_default();
        for (index, hook) in list.iter().enumerate() {
            let at = || At::object(format!("hooks.{}[{index}]", point.name()), hook.path().display());
            let texts = [hook.args(), hook.env()].into_iter().flatten().flatten();
            let path = hook.path().to_str().into_iter();
            if texts.map(String::as_str).chain(path).any(|text| text.contains('\0')) {
                return Err(anyhow!("holds a NUL byte")).with_context(at);
            }
            if !hook.path().is_absolute() {
                return Err(anyhow!("path must be absolute")).with_context(at);
            }
            if hook.timeout().is_some_and(|seconds| seconds <= 0) {
                return Err(anyhow!("timeout must be above 0 seconds")).with_context(at);
            }
        }
        Ok(list)
    };
    #[allow(
        deprecated,
        reason = "prestart hooks are deprecated by the spec, and still to be run"
    )]
    Ok(Hooks {
        prestart: check(hooks.prestart(), HookPoint::Prestart)?,
        create_runtime: check(hooks.create_runtime(), HookPoint::CreateRuntime)?,
        create_container: check(hooks.create_container(), HookPoint::CreateContainer)?,
        start_container: check(hooks.start_container(), HookPoint::StartContainer)?,
        poststart: check(hooks.poststart(), HookPoint::Poststart)?,
        poststop: check(hooks.poststop(), HookPoint::Poststop)?,
    })
}
