;; Traps before it can be asked.
;; hook: on-connect
;; expect: does not load: policy "trap-start" trapped
(func $start (unreachable))
(start $start)
(func (export "hook") (param i32) (result i32) (i32.const 512))
