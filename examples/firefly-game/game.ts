// The public entries as these sources: ../package.json resolves to them, because the checkout has no build. So `export *`.
export * from '../../core/game/index.ts'
