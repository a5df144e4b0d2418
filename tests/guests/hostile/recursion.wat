;; Calls itself until the stack is full.
;; hook: on-connect
;; expect: fails trapped
(func $down (call $down) (call $down))
(func (export "hook") (param i32) (result i32) (call $down) (i32.const 0))
