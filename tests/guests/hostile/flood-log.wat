;; Writes ten thousand lines, each with a forged line behind it, and lets everybody in.
;; hook: on-connect
;; expect: admits
(data (i32.const 0) "flood\n{\"forged\":true}\1b[2J")
(func (export "hook") (param i32) (result i32) (local $n i32)
  (loop $again
    (call $log (i32.const 2) (i32.const 0) (i32.const 25))
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if $again (i32.lt_u (local.get $n) (i32.const 10000))))
  (call $drop (local.get 0)) (i32.const 512))
