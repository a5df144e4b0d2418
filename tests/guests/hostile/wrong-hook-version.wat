;; Its only hook is that of a contract that is not there yet.
;; expect: does not load: does not fit this host: no exported instance named
(component
  (core module $guest (func (export "decide")))
  (core instance $core (instantiate $guest))
  (func $decide (canon lift (core func $core "decide")))
  (instance $hook (export "decide" (func $decide)))
  (export "sluice:policy/on-connect@0.2.0" (instance $hook)))
