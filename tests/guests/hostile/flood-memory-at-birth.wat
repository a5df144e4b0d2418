;; Wants 512 MiB before it does anything.
;; hook: on-connect
;; expect: does not load: exceeded its limit of memory (max_memory = "16MiB") when it was tried out
(memory 8192)
(func (export "hook") (param i32) (result i32) (i32.const 0))
