;; Is made of five instances more than it needs, and is allowed four in all.
;; hook: on-connect
;; instances: 5
;; set: max_instances = 4
;; expect: does not load: exceeded its limit of instances (max_instances = 4) when it was tried out
(func (export "hook") (param i32) (result i32) (call $drop (local.get 0)) (i32.const 512))
