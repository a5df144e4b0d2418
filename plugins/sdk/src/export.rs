/// Exports a policy's hooks: `sluice_policy::export!(Auth: on_connect, lifecycle);`
///
/// The hooks are `on_connect`, `on_handshake`, `prepare`, `on_frames`, `on_close` and `lifecycle`. The type
/// implements the trait of each. Use it once in a crate.
///
/// On other targets than WebAssembly this only checks the traits, because native linkers do not
/// accept the names of a component's exports.
#[macro_export]
macro_rules! export {
    ($policy:ident: $($hook:ident),+ $(,)?) => {
        $( $crate::__export_hook!($policy $hook); )+
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_hook {
    ($policy:ident on_connect) => {
        #[cfg(target_family = "wasm")]
        $crate::__export::on_connect::export_on_connect!(
            $policy with_types_in $crate::__export::on_connect
        );
        const _: fn(&$crate::Connection) -> $crate::Decision = <$policy as $crate::OnConnect>::decide;
    };
    ($policy:ident on_handshake) => {
        #[cfg(target_family = "wasm")]
        $crate::__export::on_handshake::export_on_handshake!(
            $policy with_types_in $crate::__export::on_handshake
        );
        const _: fn(&$crate::Connection, &$crate::Handshake) -> $crate::Decision =
            <$policy as $crate::OnHandshake>::decide;
    };
    ($policy:ident prepare) => {
        #[cfg(target_family = "wasm")]
        $crate::__export::prepare::export_prepare!(
            $policy with_types_in $crate::__export::prepare
        );
        const _: fn(&$crate::Connection, Option<&$crate::Handshake>) -> Vec<$crate::destinations::Request> =
            <$policy as $crate::Prepare>::requests;
    };
    ($policy:ident on_frames) => {
        #[cfg(target_family = "wasm")]
        $crate::__export::on_frames::export_on_frames!(
            $policy with_types_in $crate::__export::on_frames
        );
        const _: fn(&$crate::Connection, &$crate::Window) -> $crate::Decision =
            <$policy as $crate::OnFrames>::decide;
    };
    ($policy:ident on_close) => {
        #[cfg(target_family = "wasm")]
        $crate::__export::on_close::export_on_close!(
            $policy with_types_in $crate::__export::on_close
        );
        const _: fn(&$crate::Connection, &$crate::Ending) = <$policy as $crate::OnClose>::closed;
    };
    ($policy:ident lifecycle) => {
        #[cfg(target_family = "wasm")]
        $crate::__export::lifecycle::export_lifecycle!(
            $policy with_types_in $crate::__export::lifecycle
        );
        const _: fn() -> Result<(), $crate::ConfigError> = <$policy as $crate::Lifecycle>::validate_config;
    };
    ($policy:ident $other:ident) => {
        compile_error!(concat!(
            "`",
            stringify!($other),
            "` is no hook: use on_connect, on_handshake, prepare, on_frames, on_close or lifecycle"
        ));
    };
}
