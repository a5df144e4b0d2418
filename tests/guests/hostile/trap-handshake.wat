;; Traps.
;; hook: on-handshake
;; expect: fails trapped
(func (export "hook") (param i32 i32 i32) (result i32) (unreachable))
(func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
