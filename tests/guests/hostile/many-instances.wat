;; Is made of sixty instances more than it needs, and there is room for 48.
;; hook: on-connect
;; instances: 60
;; expect: does not load: instances
(func (export "hook") (param i32) (result i32) (call $drop (local.get 0)) (i32.const 512))
