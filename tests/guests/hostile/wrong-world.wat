;; Its on-connect takes a string and answers with a number.
;; expect: does not load: type mismatch with parameters
(component
  (core module $guest
    (memory (export "memory") 1)
    (func (export "decide") (param i32 i32) (result i32) (i32.const 0))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0)))
  (core instance $core (instantiate $guest))
  (func $decide (param "s" string) (result u32)
    (canon lift (core func $core "decide")
      (memory (core memory $core "memory")) (realloc (core func $core "realloc"))))
  (instance $hook (export "decide" (func $decide)))
  (export "sluice:policy/on-connect@0.1.0" (instance $hook)))
