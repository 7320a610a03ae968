use super::*;
use std::vec::Vec;

const AT: u64 = 0x40_1000;
const TRAMPOLINE: u64 = 0x3f_0000;

/// Plans with bytes behind the function's end that belong to the next one.
fn plan_of(body: &[u8]) -> Result<Detour, Refusal> {
    let code: Vec<u8> = body.iter().copied().chain([0x55; 32]).collect();
    plan(&code, body.len(), AT, TRAMPOLINE)
}

/// The trampoline without its landing pad.
fn moved(body: &[u8]) -> Vec<u8> {
    let detour = plan_of(body).expect("planned");
    detour.trampoline().strip_prefix(&LANDING_PAD).expect("a landing pad").to_vec()
}

/// The last instruction of a trampoline, which must be a jump, leads there.
fn jumps_to(trampoline: &[u8]) -> u64 {
    let (rest, jump) = trampoline.split_at(trampoline.len() - 5);
    assert_eq!(jump[0], 0xe9, "{trampoline:x?}");
    let step = i32::from_le_bytes(jump[1..].try_into().expect("four bytes"));
    let end = TRAMPOLINE + 4 + rest.len() as u64 + 5;
    end.wrapping_add(step as i64 as u64)
}

const NOP: u8 = 0x90;
const RET: u8 = 0xc3;

#[test]
fn whole_instructions_move_and_the_rest_goes_on_where_it_stands() {
    // push r15; push r14; push r13; ret
    let trampoline = moved(&[0x41, 0x57, 0x41, 0x56, 0x41, 0x55, RET]);
    assert_eq!(trampoline[..6], [0x41, 0x57, 0x41, 0x56, 0x41, 0x55]);
    assert_eq!(jumps_to(&trampoline), AT + 6);
}

#[test]
fn a_landing_pad_stays_where_it_is() {
    let body = [&LANDING_PAD[..], &[0x41, 0x57, 0x41, 0x56, NOP, RET]].concat();
    let detour = plan_of(&body).expect("planned");
    assert_eq!(detour.at, AT + 4);
    assert_eq!(detour.replaced, [0x41, 0x57, 0x41, 0x56, NOP]);
    assert_eq!(jumps_to(&detour.trampoline()[4..]), AT + 9);
}

#[test]
fn what_is_found_relative_to_the_instruction_is_found_from_the_trampoline_too() {
    // mov rax, [rip+0x4bfe9]; ret
    let trampoline = moved(&[0x48, 0x8b, 0x05, 0xe9, 0xbf, 0x04, 0x00, RET]);
    let step = i32::from_le_bytes(trampoline[3..7].try_into().expect("four bytes"));
    let found = (TRAMPOLINE + 4 + 7).wrapping_add(step as i64 as u64);
    assert_eq!(found, AT + 7 + 0x4bfe9);
    // With an immediate operand behind it: cmp byte ptr [rip+0x100], 0; ret
    let trampoline = moved(&[0x80, 0x3d, 0x00, 0x01, 0x00, 0x00, 0x00, RET]);
    let step = i32::from_le_bytes(trampoline[2..6].try_into().expect("four bytes"));
    assert_eq!((TRAMPOLINE + 4 + 7).wrapping_add(step as i64 as u64), AT + 7 + 0x100);
}

#[test]
fn a_short_conditional_jump_becomes_a_long_one() {
    // test rdi, rdi; je +0x10; nop …
    let body = [&[0x48, 0x85, 0xff, 0x74, 0x10][..], &[NOP; 0x18], &[RET]].concat();
    let trampoline = moved(&body);
    assert_eq!(trampoline[3..5], [0x0f, 0x84]);
    let step = i32::from_le_bytes(trampoline[5..9].try_into().expect("four bytes"));
    assert_eq!((TRAMPOLINE + 4 + 9).wrapping_add(step as i64 as u64), AT + 5 + 0x10);
    assert_eq!(jumps_to(&trampoline), AT + 5);
}

#[test]
fn a_function_that_only_jumps_on_is_moved_whole() {
    // xor ecx, ecx; jmp +0x1000
    let trampoline = moved(&[0x31, 0xc9, 0xe9, 0x00, 0x10, 0x00, 0x00]);
    assert_eq!(jumps_to(&trampoline), AT + 7 + 0x1000);
}

#[test]
fn a_short_function_needs_padding_behind_it() {
    // xor eax, eax; ret, and something else, or padding.
    let short = [0x31, 0xc0, RET];
    assert_eq!(plan_of(&short).err(), Some(Refusal::Short));
    let padded = [&short[..], &[0xcc; 13]].concat();
    let detour = plan(&padded, short.len(), AT, TRAMPOLINE).expect("planned");
    assert_eq!(detour.trampoline()[4..], short);
}

#[test]
fn a_call_returns_to_where_it_stood() {
    // push rax; call +0x1000; pop rax; ret
    let trampoline = moved(&[0x50, 0xe8, 0, 0x10, 0, 0, 0x58, RET]);
    let (code, back) = trampoline.split_at(trampoline.len() - 8);
    assert_eq!(code[..7], [0x50, 0xff, 0x35, 5, 0, 0, 0]);
    assert_eq!(jumps_to(code), AT + 6 + 0x1000);
    assert_eq!(u64::from_le_bytes(back.try_into().expect("eight bytes")), AT + 6);
}

#[test]
fn a_call_by_a_pointer_at_the_beginning_is_refused() {
    assert_eq!(plan_of(&[0xff, 0x15, 0, 0, 0, 0, RET]).err(), Some(Refusal::Call));
}

#[test]
fn a_jump_back_into_the_beginning_is_refused() {
    let back = |displacement: u8| {
        let body = [&[NOP; 10][..], &[0xeb, displacement, RET]].concat();
        plan_of(&body).err()
    };
    // From the end of the jump, at 12, to 3, to 0 and to 5.
    assert_eq!(back(0xf7), Some(Refusal::Entered));
    assert_eq!(back(0xf4), Some(Refusal::Entered));
    assert_eq!(back(0xf9), None);
}

#[test]
fn what_no_decoder_knows_is_refused() {
    assert_eq!(plan_of(&[NOP, NOP, 0x06, NOP, NOP, NOP, RET]).err(), Some(Refusal::Unknown));
    // Further on as well: jumps behind it would not be seen.
    assert_eq!(plan_of(&[NOP, NOP, NOP, NOP, NOP, NOP, 0x06]).err(), Some(Refusal::Unknown));
}

#[test]
fn what_is_too_far_is_refused() {
    let code = [NOP; 16];
    let far = AT + (3 << 30);
    assert_eq!(plan(&code, 16, AT, far).err(), Some(Refusal::Far));
    let near = plan(&code, 16, AT, TRAMPOLINE).expect("planned");
    assert_eq!(near.jump_to(far), None);
    assert!(near.jump_to(TRAMPOLINE).is_some());
}
