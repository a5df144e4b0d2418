;; Is a module and no component.
;; expect: does not load: it is a core WebAssembly module, not a component
(module (func (export "decide")))
