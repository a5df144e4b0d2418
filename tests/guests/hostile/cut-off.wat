;; Ends in the middle.
;; hook: on-connect
;; length: 300
;; expect: does not load: policy "cut-off" does not load
(func (export "hook") (param i32) (result i32) (i32.const 0))
