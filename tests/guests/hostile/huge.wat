;; Is larger than any component.
;; hook: on-connect
;; length: 67108865
;; expect: does not load: it has 67108865 bytes
(func (export "hook") (param i32) (result i32) (i32.const 0))
