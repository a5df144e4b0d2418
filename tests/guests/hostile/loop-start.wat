;; Never gets as far as to be asked.
;; hook: on-connect
;; expect: does not load: policy "loop-start" exceeded its limit of time (2s, the least that a policy has to start in) when it was tried out
(func $start (loop (br 0)))
(start $start)
(func (export "hook") (param i32) (result i32) (i32.const 0))
